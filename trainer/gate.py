"""The gate: three checks on the first global batch, before its update, that the numbers can be trusted.

At step 0 policy and reference are one model, so h = log pi - log pi_ref must be 0 for every answer. The mean loss would
be a blind instrument: an error that hits both answers cancels in it. So h itself is looked at, a token.
"""

from dataclasses import dataclass

from torch import Tensor

from core.contract.run_spec import Settings
from trainer.failures import GateFailed
from trainer.losses import AT_START


@dataclass(frozen=True)
class Limits:
    """Largest |h| a token between two forwards and against the stored reference (largest, mean); error of the loss."""

    forward: float
    largest: float
    mean: float
    loss: float


LIMITS = {"fp32": Limits(1e-6, 1e-5, 1e-5, 1e-5), "bf16": Limits(1e-6, 2e-2, 2e-3, 5e-3)}


def same_forward(with_graph: Tensor, without: Tensor, lengths: Tensor, settings: Settings) -> float:
    """(A) The training forward and the no-grad one see the same model. Returns the largest |h| a token."""
    worst = float(((with_graph.detach() - without).abs() / lengths).max())
    if not worst <= LIMITS[settings.precision].forward:
        raise GateFailed(f"The training forward differs from the plain one by {worst:.1e} a token.")
    return worst


def same_reference(h_per_token: Tensor, settings: Settings) -> float:
    """(B) The stored reference is the policy of now. `h_per_token`: over the first global batch."""
    limits = LIMITS[settings.precision]
    worst, mean = float(h_per_token.abs().max()), float(h_per_token.abs().mean())
    if not (worst <= limits.largest and mean <= limits.mean):
        raise GateFailed(f"The stored reference differs from the policy at step 0 by {worst:.1e} a token.")
    return worst


def right_loss(preference_loss: float, differences: Tensor, settings: Settings) -> float:
    """(C) The mean preference loss is what the formula gives where nothing has moved. Returns the error.

    `differences`: D of each pair, which (B) has found to be rounding. A log-probability of thousands of nats carries
    an fp32 rounding of 1e-4, and the loss changes by at most beta |D|: that much is explained, the rest is not.
    """
    expected = AT_START[settings.loss](settings)
    error = abs(preference_loss - expected)
    explained = settings.beta * float(differences.abs().mean())
    if not error <= LIMITS[settings.precision].loss * max(1.0, expected) + explained:
        raise GateFailed(f"The first loss is {preference_loss:.6f}, not {expected:.6f}.")
    return error
