"""The reload check: what was exported, loaded the way anyone would load it, scores as the engine does."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from core.contract.run_spec import RunSpec
from trainer import model
from trainer.collection import Collection, scored_tokens
from trainer.data import Example
from trainer.export import adapter_folder
from trainer.failures import GateFailed
from trainer.layouts import collate
from trainer.rows import plan
from trainer.scorer import Scorer

EXAMPLES = 32
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2}


def exports(spec: RunSpec, folder: Path) -> Iterator[nn.Module]:
    """Every kind that was exported, loaded: the model; the adapter on the base model, by PEFT."""
    if "model" in spec.export:
        yield model.load(folder, spec.settings.precision)
    if "adapter" in spec.export:
        from peft import PeftModel

        base = model.load(spec.model_dir, spec.settings.precision)
        yield PeftModel.from_pretrained(base, str(adapter_folder(spec, folder))).merge_and_unload()


@torch.no_grad()
def reload_check(
    spec: RunSpec,
    folder: Path,
    examples: Sequence[Example],
    expected: Tensor,
    device: torch.device,
    fused: bool,
    look: Callable[[], None],
) -> float:
    """Largest difference of log-probability a token; raises GateFailed. `expected`: the engine's sums [S, 2].

    `fused`: whether they came through the fused head. `look` is called after each row, and may raise.

    A pair may be told apart otherwise only where its answers are nearer than the tolerance allows.
    """
    tolerance, lengths = TOLERANCE[spec.settings.precision], scored_tokens(examples)
    worst = 0.0
    for loaded in exports(spec, folder):
        off = (sums(loaded, examples, spec.row_tokens, device, fused, look) - expected)[:, 0].abs() / lengths
        worst = max(worst, float(off.max()))
        if not worst <= tolerance:
            raise GateFailed(
                f"The exported model, loaded again, differs by {worst:.1e} a token from the trained one.",
                code="export_mismatch",
            )
    return worst


def sums(
    loaded: nn.Module,
    examples: Sequence[Example],
    row_tokens: int,
    device: torch.device,
    fused: bool,
    look: Callable[[], None],
) -> Tensor:
    scorer = Scorer(loaded).eval()
    # The model's own logits; but for bf16, whose rounding is coarser than the tolerance: there the engine's way.
    scorer.fused &= fused and loaded.dtype == torch.bfloat16
    try:
        scorer.to(device)
    except torch.OutOfMemoryError:
        device = torch.device("cpu")
        scorer.to(device)
    collection = Collection(examples)
    found = torch.zeros(collection.sequences, 2)
    for row in plan(range(len(examples)), examples, "padded", 0, 1, row_tokens, scorer.boundary):
        found[collection.numbers(row.examples)] = scorer(collate(collection.pick(row.examples), "padded", device)).cpu()
        look()
    return found
