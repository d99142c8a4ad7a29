"""Whether what a merge changed is what it should have: the least-squares slope of W_out - W on alpha / r B A, over all
adapted matrices together.

1 where they were merged rightly, however the sums were rounded, as long as they were rounded without a bias. Its
uncertainty is reckoned from the residuals: the matrices of small models are few and small.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# How far from 1 it may be: a scale that is off by 1 % is not, and so many of its own standard deviations are.
OFF, SIGMAS = 0.005, 6.0


@dataclass
class Slope:
    """Sums over elements: of the change made times the one expected; of the latter's square; of (it x residual)^2."""

    product: float = 0.0
    square: float = 0.0
    spread: float = 0.0

    def add(self, difference: Tensor, change: Tensor) -> None:
        """W_out - W and alpha / r B A, fp32 in one shape."""
        self.product += total(difference * change)
        self.square += total(change.square())
        self.spread += total(((difference - change) * change).square())

    @property
    def value(self) -> float:
        """Of an adapter that changes nothing, 1."""
        return self.product / self.square if self.square else 1.0

    @property
    def allowed(self) -> float:
        """Distance from 1."""
        return OFF + (SIGMAS * self.spread**0.5 / self.square if self.square else 0.0)

    @property
    def right(self) -> bool:
        return abs(self.value - 1) <= self.allowed


def total(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))
