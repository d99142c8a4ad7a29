"""The reload check: what was exported, loaded the way anyone would load it, scores as the engine does."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer import model
from trainer.batches import deal
from trainer.data import Pair
from trainer.failures import GateFailed
from trainer.scorer import Scorer, collate, lengths

PAIRS = 32
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2}


@torch.no_grad()
def reload_check(
    exported: Path, pairs: Sequence[Pair], expected: Tensor, precision: str, micro_batch: int, device: torch.device
) -> float:
    """Largest difference of log-probability a token; raises GateFailed. `expected`: the engine's sums [pairs, 2]."""
    scorer = Scorer(model.load(exported, precision)).eval()
    try:
        scorer.to(device)
    except torch.OutOfMemoryError:
        device = torch.device("cpu")
        scorer.to(device)
    found = torch.zeros_like(expected)
    for row in deal(range(len(pairs)), [pair.longest for pair in pairs], 0, 1, micro_batch):
        found[list(row.pairs)] = scorer(collate([pairs[i] for i in row.pairs], device)).cpu()
    worst = float(((found - expected).abs() / lengths(pairs)).max())
    if not worst <= TOLERANCE[precision]:
        raise GateFailed(
            f"The exported model, loaded again, differs by {worst:.1e} a token from the trained one.",
            code="export_mismatch",
        )
    return worst
