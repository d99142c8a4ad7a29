"""The fused head: log-probabilities of the scored tokens, tile by tile; the table of all logits is never whole.

Nothing else reads the head's weight, so that ZeRO-3 gathers it once for the forward and once for the backward.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Logits at once, and softmax tables kept for the backward: what does not fit is computed again there. A tile reads the
# whole weight: on a GPU, whose products outrun its memory, tiles have thousands of rows.
TILE_BYTES = {"cpu": 32 << 20, "cuda": 1 << 30}
KEPT_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
# Rows of the weight whose gradient is added at once: what a product beside the total takes.
SLICE = 16_384
# MKL sums a product of fewer rows term after term: over V = 49,152 its gradients were off by up to 1e-4.
LEAST_ROWS = 4


@dataclass(frozen=True)
class Transform:
    """From the product of hidden state and weight to the logits: cap x tanh(scale x / cap), or scale x."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """In place."""
        if self.scale != 1.0:
            logits.mul_(self.scale)
        return logits.div_(self.cap).tanh_().mul_(self.cap) if self.cap else logits

    def slope(self, logits: Tensor) -> Tensor | float:
        """Derivative, by what came out."""
        return (1 - (logits / self.cap).square_()).mul_(self.scale) if self.cap else self.scale


def transform_of(config: Any) -> Transform:
    """As the families name it: Cohere's and Falcon's factors, Granite's divisor, Gemma's cap. The probe checks it."""

    def number(name: str) -> float:
        return float(getattr(config, name, None) or 1.0)

    scale = number("logit_scale") * number("lm_head_multiplier") / number("logits_scaling")
    return Transform(scale, getattr(config, "final_logit_softcapping", None))


class Head(nn.Module):
    """Stands in the place of the model's own output layer and owns its parameters under their names.

    Called with hidden states alone it is that layer (for `generate`); with targets it gives log-probabilities.
    """

    def __init__(self, linear: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.weight: Tensor = linear.weight  # type: ignore[assignment]
        self.bias: Tensor | None = getattr(linear, "bias", None)
        self.transform = transform

    def forward(self, hidden: Tensor, targets: Tensor | None = None) -> Tensor:
        """hidden [..., H] -> logits [..., V] before the transform; or hidden [M, H], targets [M] -> fp32 [M]."""
        # The bodies of some models (Mamba) end in fp32 whatever they compute in.
        hidden = hidden.to(self.weight.dtype)
        if targets is None:
            return thick(lambda rows: F.linear(rows, self.weight, self.bias), hidden.flatten(0, -2)).view(
                *hidden.shape[:-1], -1
            )
        result: Tensor = FusedLogProbs.apply(  # type: ignore[no-untyped-call]
            hidden, self.weight, self.bias, targets, self.transform, torch.is_grad_enabled()
        )
        return result


class FusedLogProbs(torch.autograd.Function):
    """log softmax(transform(h W^T + b))[target].

    With D = softmax - onehot (times the transform's slope) and g the gradient of each log-probability: the hidden
    states get -g (D W), the weight gets -D^T (g h), summed over tiles in fp32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        transform: Transform,
        graph: bool,
    ) -> Tensor:
        found = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        learns = graph and (weight.requires_grad or (bias is not None and bias.requires_grad))
        kept: list[Tensor] = []
        # Of a frozen head only the hidden states want a gradient, known here up to its factor g.
        direct = torch.empty_like(hidden) if graph and not learns else None
        room = KEPT_BYTES[weight.device.type] if learns else 0
        for tile in tiles(len(targets), weight):
            if not graph:
                found[tile] = log_probs(hidden[tile], weight, bias, targets[tile], transform)
                continue
            found[tile], difference = differences(hidden[tile], weight, bias, targets[tile], transform)
            room -= difference.nbytes
            if direct is not None:
                direct[tile] = thick(lambda rows: rows @ weight, difference)
            elif room >= 0:
                kept.append(difference)
        ctx.save_for_backward(hidden, weight, bias, targets, direct)
        ctx.kept, ctx.transform = kept, transform
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        hidden, weight, bias, targets, direct = ctx.saved_tensors
        factor = -gradients[0].float().unsqueeze(1)
        if direct is not None:
            return (direct * factor).to(hidden.dtype), None, None, None, None, None
        to_hidden = torch.empty_like(hidden)
        to_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        to_bias = None if bias is None else torch.zeros(bias.shape, dtype=torch.float32, device=weight.device)
        for number, tile in enumerate(tiles(len(targets), weight)):
            if number < len(ctx.kept):
                difference = ctx.kept[number]
            else:
                difference = differences(hidden[tile], weight, bias, targets[tile], ctx.transform)[1]
            to_hidden[tile] = thick(lambda rows: rows @ weight, difference) * factor[tile]
            add_product(to_weight, difference, (hidden[tile] * factor[tile]).to(hidden.dtype))
            if to_bias is not None:
                to_bias += (difference.float() * factor[tile]).sum(0)
        ctx.kept = []
        return (
            to_hidden,
            to_weight.to(weight.dtype),
            None if to_bias is None else to_bias.to(bias.dtype),
            None,
            None,
            None,
        )


def tiles(rows: int, weight: Tensor) -> list[slice]:
    size = max(1, TILE_BYTES[weight.device.type] // (4 * len(weight)))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def thick(multiply: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """multiply(rows [m, n]) -> [m, k], at least LEAST_ROWS at once, so that each is as right as among many."""
    missing = LEAST_ROWS - len(rows)
    return multiply(F.pad(rows, (0, 0, 0, missing)))[: len(rows)] if missing > 0 else multiply(rows)


def product(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """fp32 [m, V], whatever the weight's precision."""
    if hidden.dtype == torch.float32:
        return thick(lambda rows: F.linear(rows, weight, bias), hidden)
    if hidden.device.type == "cuda":
        logits = torch.mm(hidden, weight.t(), out_dtype=torch.float32)
    else:
        logits = thick(lambda rows: rows @ weight.float().t(), hidden.float())
    return logits if bias is None else logits.add_(bias)


def add_product(total: Tensor, difference: Tensor, scaled: Tensor) -> None:
    """total [V, H] += difference^T [V, m] @ scaled [m, H], summed in fp32."""
    if difference.dtype == torch.float32:
        total.addmm_(difference.t(), scaled)
        return
    wide = None if difference.device.type == "cuda" else scaled.float()
    for start in range(0, len(total), SLICE):
        own = slice(start, start + SLICE)
        rows = difference[:, own].t()
        if wide is None:
            total[own] += torch.mm(rows, scaled, out_dtype=torch.float32)
        else:
            total[own].addmm_(rows.float(), wide)


def log_probs(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, transform: Transform) -> Tensor:
    """As `differences` finds them, bit for bit: gate A compares the two."""
    return softmax(transform(product(hidden, weight, bias)), targets)[0]


def differences(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, transform: Transform
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [m], and D [m, V] in the precision of the weight."""
    logits = transform(product(hidden, weight, bias))
    slope = transform.slope(logits)
    found, table, total = softmax(logits, targets)
    table.div_(total).scatter_(1, targets[:, None], found.expm1()[:, None])
    return found, (table if isinstance(slope, float) and slope == 1.0 else table.mul_(slope)).to(weight.dtype)


def softmax(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities [m] of the targets; in the place of the logits the softmax [m, V] times its total [m, 1].

    torch's log_softmax is biased on a CPU: by +7e-6 at V = 49,152, which grows with the tokens of an answer.
    """
    logits -= logits.amax(1, keepdim=True)
    own = logits.gather(1, targets[:, None])
    total = logits.exp_().sum(1, keepdim=True)
    return (own - total.log()).squeeze(1), logits, total
