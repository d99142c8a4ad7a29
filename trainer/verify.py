"""Whether what was exported is what was trained: its bytes, its merge, and what it says when it is loaded as anyone
would load it. Everything that it is compared with lies in the proof (trainer.proof).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.contract.errors import BadModel
from core.contract.run_spec import RunSpec
from trainer import folder as model_folder
from trainer import fused, model
from trainer.collection import Collection, scored_tokens
from trainer.export import ADAPTER, ADAPTER_CONFIG, adapter_folder
from trainer.failures import GateFailed
from trainer.layouts import collate
from trainer.noise import FACTOR, by_root
from trainer.proof import ROW_TOKENS, Proof, is_tied
from trainer.rows import plan
from trainer.safetensors_file import TYPES, digest, table
from trainer.scorer import Scorer
from trainer.slope import Slope

NEW_TOKENS = 32
Look = Callable[[], None]


class ExportMismatch(GateFailed):
    code = "export_mismatch"


@dataclass
class Found:
    """Figures of what was compared, and what the loaded model says to a prompt."""

    figures: dict[str, float] = field(default_factory=dict)
    text: str | None = None

    @property
    def message(self) -> str:
        told = [f"{name} {value:.4g}" for name, value in self.figures.items()]
        return f"The exported model, loaded again, is the one that was trained ({', '.join(told)})."


def verify(spec: RunSpec, folder: Path, proof: Proof, device: torch.device, look: Look) -> Found:
    """Raises ExportMismatch. `look` is called between forwards, and may raise."""
    found = Found()
    for path, made in proof.tensors.items():
        same_bytes(folder / path, path, made)
        look()
    found.figures["tensors"] = float(sum(map(len, proof.tensors.values())))
    adapter = adapter_folder(spec, folder) if "adapter" in spec.export and spec.settings.lora else None
    if "model" in spec.export:
        same_headers(spec, folder)
        if proof.slope and spec.settings.lora:
            found.figures |= merged_rightly(proof.slope, "merged model")
        elif proof.slope:
            found.figures["share of the update in the bf16 weights"] = proof.slope.value
        if adapter and (slope := merge(spec, folder, adapter, look)):
            found.figures |= merged_rightly(slope, "exported model")
        loaded = whole(folder, spec.settings.precision)
        if is_tied(loaded) != proof.tied:
            count = "one" if is_tied(loaded) else "two"
            raise ExportMismatch(f"Head and embeddings of the exported model are {count}; in the run they were not.")
        found.figures |= same_sums(spec, loaded, proof, proof.sums, device, look, "exported model")
        found.text = said(spec, loaded, proof, look)
        del loaded
    if adapter:
        adapted = adapt(spec, adapter, proof)
        # In bf16 PEFT adds to an output that is rounded already: exact bytes say more than any forward could.
        if proof.adapted is not None:
            what = "adapter on its base model"
            found.figures |= same_sums(spec, adapted, proof, proof.adapted, device, look, what)
        found.text = found.text or said(spec, adapted, proof, look)
    return found


def same_bytes(path: Path, name: str, made: list[str]) -> None:
    """Each tensor of the file has the bytes that were handed to be written."""
    entries = table(path)
    if len(entries) != len(made):
        raise ExportMismatch(f"{name} holds {len(entries)} tensors; {len(made)} were written.")
    with path.open("rb") as stream:
        for (tensor, entry), wanted in zip(entries.items(), made, strict=True):
            stream.seek(entry.begin)
            if digest(stream.read(entry.end - entry.begin)) != wanted:
                raise ExportMismatch(f"{tensor} in {name} does not have the bytes that were written.")


def headers(folder: Path) -> dict[str, Any]:
    return {name: entry for path in model_folder.weight_files(folder) for name, entry in table(path).items()}


def same_headers(spec: RunSpec, folder: Path) -> None:
    """Shapes are those of the base model's files; types too, or the run's. Names: the loader misses none (`whole`)."""
    base, mine = headers(spec.model_dir), TYPES[model.DTYPES[spec.settings.precision]]
    for name, entry in headers(folder).items():
        if name not in base:
            continue  # one of several in memory that the base's files hold as one (trainer.parts)
        if entry.shape != base[name].shape:
            raise ExportMismatch(f"{name} was exported as {entry.shape}; in the base model it is {base[name].shape}.")
        # Some models keep a buffer in fp32 whatever they compute in.
        if entry.dtype not in (mine, base[name].dtype, "F32"):
            raise ExportMismatch(f"{name} was exported as {entry.dtype}; the run computes in {mine}.")


def merge(spec: RunSpec, folder: Path, adapter: Path, look: Look) -> Slope | None:
    """Of the exported files on those of the base model, by the adapter's bytes. None where the files hold no matrix
    that was changed by its own name: several in one (trainer.parts).
    """
    slope = None
    out, base = model.Tensors(folder), model.Tensors(spec.model_dir)
    for name, change in changes(adapter):
        if name in out.files and name in base.files:
            look()
            merged = out[name]
            slope = slope or Slope()
            slope.add(name, base[name].to(merged.dtype), merged, change)
    return slope


def merged_rightly(slope: Slope, what: str) -> dict[str, float]:
    if fault := slope.fault():
        raise ExportMismatch(f"The {what} holds {fault}.")
    return {f"merge slope of the {what}": slope.value}


def changes(adapter: Path) -> Iterator[tuple[str, Tensor]]:
    """(name of the base's weight, alpha / r B A in its shape, fp32), from the adapter's files alone."""
    from safetensors import safe_open

    config = json.loads((adapter / ADAPTER_CONFIG).read_text())
    scaling = config["lora_alpha"] / config["r"]
    with safe_open(adapter / ADAPTER, framework="pt") as tensors:
        for name in sorted(tensors.keys()):
            if not name.endswith(".lora_A.weight"):
                continue
            path = name.removesuffix(".lora_A.weight")
            a, b = tensors.get_tensor(name), tensors.get_tensor(f"{path}.lora_B.weight")
            change = scaling * (b.float() @ a.float())
            yield f"{path.removeprefix('base_model.model.')}.weight", change.T if config["fan_in_fan_out"] else change


def whole(folder: Path, precision: str) -> nn.Module:
    """As transformers loads it: none missing, none that it does not know. It was we who wrote it."""
    try:
        return model.load(folder, precision, nothing_left=True)
    except BadModel as bad:
        raise ExportMismatch(f"The exported model cannot be loaded: {bad.message}") from bad


def adapt(spec: RunSpec, folder: Path, proof: Proof) -> nn.Module:
    """The adapter on its base model as PEFT loads it: in the layers that were trained, as strong as it was."""
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    base = model.load(spec.model_dir, spec.settings.precision)
    adapted = PeftModel.from_pretrained(base, str(folder))
    layers = {name: each for name, each in adapted.named_modules() if isinstance(each, LoraLayer)}
    written = {name.removesuffix(".lora_A.weight") for name in table(folder / ADAPTER) if ".lora_A." in name}
    if layers.keys() != written:
        odd = sorted(layers.keys() ^ written)[0]
        raise ExportMismatch(f"PEFT puts the adapter into other layers than those that were trained: {odd}.")
    for name, layer in layers.items():
        (scaling,) = layer.scaling.values()
        if scaling != proof.scaling:
            raise ExportMismatch(f"PEFT scales the adapter of {name} by {scaling}; it was trained at {proof.scaling}.")
    return base  # PEFT has put its layers into it


@torch.no_grad()
def same_sums(
    spec: RunSpec,
    loaded: nn.Module,
    proof: Proof,
    expected: Sequence[float],
    device: torch.device,
    look: Look,
    what: str,
) -> dict[str, float]:
    """The largest difference of an answer's sum, in nats / sqrt(scored tokens), within the noise."""
    examples, limit = proof.answers(), FACTOR * proof.noise
    off = sums(loaded, proof, min(spec.row_tokens, ROW_TOKENS), device, look)[:, 0] - torch.tensor(expected)
    worst = float(by_root(off, scored_tokens(examples)).max())
    if not worst <= limit:
        raise ExportMismatch(
            f"The {what}, loaded again, differs from the trained one by {worst:.1e} nats / sqrt(token); {limit:.1e} "
            f"is allowed, {FACTOR} times the noise of this model."
        )
    return {f"difference of the {what}": worst, "allowed": limit}


def sums(loaded: nn.Module, proof: Proof, row_tokens: int, device: torch.device, look: Look) -> Tensor:
    examples = proof.answers()
    scorer = Scorer(loaded).eval()
    # As transformers computes them; but for bf16, whose rounding is coarser than the tolerance: there the engine's way.
    scorer.fused &= proof.fused and loaded.dtype == torch.bfloat16
    if device.type in fused.DEVICES and loaded.dtype == torch.bfloat16:
        fused.fuse(loaded)
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


@torch.no_grad()
def said(spec: RunSpec, loaded: nn.Module, proof: Proof, look: Look) -> str:
    """A greedy continuation of the proof's opening: told, not judged, since in bf16 it may differ rightly."""
    from transformers import GenerationConfig, StoppingCriteriaList

    def criterion(ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        look()
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    room = model_folder.context_length(spec.model_dir) - NEW_TOKENS
    given = torch.tensor([proof.opening[-max(room, 1) :]], device=next(loaded.parameters()).device)
    greedy = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=proof.ends, pad_token_id=proof.ends[0]
    )
    out = loaded.generate(  # type: ignore[operator]
        given,
        attention_mask=torch.ones_like(given),
        generation_config=greedy,
        stopping_criteria=StoppingCriteriaList([criterion]),
    )
    tokenizer = model_folder.load_tokenizer(spec.model_dir)
    return str(tokenizer.decode(out[0, given.shape[1] :], skip_special_tokens=True))
