"""The slope of a merge in bf16, over the odds of its rounding: no fault where hardly an element moves, one where too
many stay."""

import pytest
import torch

from trainer.rounding import Draws, rounded
from trainer.slope import Slope


@pytest.mark.parametrize("size", [1e-10, 1e-8, 1e-6, 1e-4])
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_a_fair_merge_is_no_fault_however_small_the_change(size: float, scale: float) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        base = (scale * torch.randn(96, 64)).bfloat16()
        change = size * torch.randn(96, 4) @ torch.randn(4, 64)
        slope = Slope()
        slope.add("w", base, rounded(base.float() + change, Draws((seed, "w"))), change)
        assert slope.fault() is None, (seed, slope)


@pytest.mark.parametrize(("factor", "fault"), [(0.0, True), (1.0, False), (1.03, True)])
def test_one_that_is_too_weak_or_too_strong_is_a_fault(factor: float, fault: bool) -> None:
    torch.manual_seed(1)
    base = (0.05 * torch.randn(1_024, 512)).bfloat16()
    change = 1e-4 * torch.randn(1_024, 8) @ torch.randn(8, 512)
    slope = Slope()
    slope.add("w", base, rounded(base.float() + factor * change, Draws((1, "w"))), change)
    assert (slope.fault() is not None) == fault
    nearest = Slope()
    nearest.add("w", base, (base.float() + 0.1 * change).bfloat16(), 0.1 * change)
    assert nearest.fault() is not None
