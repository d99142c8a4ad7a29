"""Whether what a merge changed is what it should have: the least-squares slope of W_out - W on alpha / r B A, over all
adapted matrices together, and of each by itself, more roughly.

1 where they were merged rightly, however the sums were rounded, as long as they were rounded without a bias. Its
uncertainty is reckoned too: the matrices of small models are few and small.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.rounding import variance

# How far from 1 it may be beside its uncertainty: a scale that is off by 1 % is not; and of a single matrix, which a
# merge may have left out.
OFF, OFF_EACH = 0.005, 0.1
SIGMAS = 6.0


@dataclass
class Slope:
    """Sums over elements: of the change made times the one expected; of the latter's square; the variance of the first,
    of bf16 by the odds of its rounding, else by the residuals; what rounding to nearest in fp32 may have taken from
    it. `odd`: matrices far from 1, and by how much.
    """

    product: float = 0.0
    square: float = 0.0
    spread: float = 0.0
    lost: float = 0.0
    odd: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, base: Tensor, merged: Tensor, change: Tensor) -> None:
        """W and W_out in one type, and alpha / r B A in fp32, in one shape."""
        made = merged.float() - base.float()
        lost = torch.zeros(())
        if merged.dtype == torch.float32:
            lost = change.abs() * torch.minimum(change.abs(), merged.abs() * 2.0**-24)
        # Few elements move by a whole unit each where a change is small: residuals that show none would show no doubt.
        doubt = variance(base.float() + change) if merged.dtype == torch.bfloat16 else (made - change).square()
        parts = made * change, change.square(), doubt * change.square(), lost
        product, square, spread, gone = (float(part.sum(dtype=torch.float64)) for part in parts)
        one = Slope(product, square, spread, gone)
        if not one.within(OFF_EACH):
            self.odd[name] = one.value
        self.product += one.product
        self.square += one.square
        self.spread += one.spread
        self.lost += one.lost

    @property
    def value(self) -> float:
        """Of an adapter that changes nothing, 1."""
        return self.product / self.square if self.square else 1.0

    @property
    def uncertain(self) -> float:
        return (SIGMAS * self.spread**0.5 + self.lost) / self.square if self.square else 0.0

    def within(self, off: float) -> bool:
        return abs(self.value - 1) <= off + self.uncertain

    def fault(self) -> str | None:
        """What it shows, in words; None where the merge is right."""
        if self.odd:
            name, value = next(iter(self.odd.items()))
            return f"{value:.3f} times the adapter's change in {name}"
        if not self.within(OFF):
            return f"{self.value:.4f} times the adapter's change; 1 +- {OFF + self.uncertain:.4f} is allowed"
        return None
