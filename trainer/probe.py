"""Which layout a model can be trained in: tried on a few examples, never decided by the model's name.

Truth is each answer alone, unpadded, through the model's own attention; and through the fused head where that is found
to be the model's own logits. A layout is fit when the same answers, among neighbours, get the same log-probabilities
and the same gradients at the embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.contract.run_spec import RunSpec
from trainer.collection import scored_tokens
from trainer.data import Example
from trainer.engine import Engine
from trainer.failures import GateFailed
from trainer.layouts import Layout, collate
from trainer.noise import Noise, measured
from trainer.reference import refuse_non_finite
from trainer.world import World

LAYOUTS: tuple[Layout, ...] = ("shared", "packed", "padded")
# Log-probability a token; gradients as a share of the largest.
LIMITS = {"fp32": 1e-5, "bf16": 2e-2}
GRADIENT_LIMITS = {"fp32": 1e-4, "bf16": 5e-2}
# The model's own bf16 logits are rounded, by up to 0.06 between 16 and 32; the fused head's are not.
HEAD_LIMITS = {"fp32": 1e-5, "bf16": 0.1}
EXAMPLES = 4


@dataclass(frozen=True)
class Probe:
    """`errors` of each layout that was tried: a token, and of the gradients. `reason`: why not an earlier one."""

    layout: Layout
    errors: dict[str, list[float]]
    reason: str
    noise: Noise


def probe(engine: Engine, world: World, spec: RunSpec, examples: Sequence[Example]) -> Probe:
    """The first layout that is right on all ranks. Raises GateFailed where none is, or the forced one is not.

    BadModel where the model gives no finite number.
    """
    few = chosen(examples, engine.scorer.boundary)
    precision = spec.settings.precision
    errors: dict[str, list[float]] = {}
    reasons: list[str] = []
    if engine.scorer.fused:
        off = max(world.gather(head_error(engine, world, few)))
        engine.scorer.fused = off <= HEAD_LIMITS[precision]
        errors["head"] = [off]
        if not engine.scorer.fused:
            reasons.append(f"The fused head is off by {off:.1e} a token: the model's own logits are used.")
    truth = Truth(engine, world, few)
    refuse_non_finite(few, truth.sums[:, None])
    noise = measured(engine, world.device, precision, truth.singles, truth.sums, truth.gradients)
    for layout in LAYOUTS if spec.layout == "auto" else (spec.layout,):
        found, reason = tried(truth, layout)
        worst = [max(values) for values in zip(*world.gather(found), strict=True)]
        reason = next((each for each in world.gather(reason) if each), "")
        errors[layout] = worst
        if worst[0] <= LIMITS[precision] and worst[1] <= GRADIENT_LIMITS[precision]:
            return Probe(layout, errors, " ".join(reasons), noise)
        reasons.append(f"{layout}: {reason or f'off by {worst[0]:.1e} a token, gradients by {worst[1]:.1e}'}.")
    raise GateFailed(f"The model scores the same tokens differently among others: {' '.join(reasons)}")


def tried(truth: "Truth", layout: Layout) -> tuple[list[float], str]:
    """A layout that a model refuses is unfit, whatever it raises; the engine is left as if it had not been tried."""
    try:
        return truth.errors(layout), ""
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        truth.engine.forget()
        return [float("inf")] * 2, (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def head_error(engine: Engine, world: World, examples: Sequence[Example]) -> float:
    """Of the fused head against the model's own logits, on each example's first answer; a token."""
    batch = collate([replace(e, answers=e.answers[:1]) for e in examples], "padded", world.device)
    fused = engine.score_only(batch)[:, 0]
    engine.scorer.fused = False
    own = engine.score_only(batch)[:, 0]
    engine.scorer.fused = True
    per_token = (fused - own).abs() / (batch.place < len(batch.targets)).sum(1)
    return float(per_token.max()) if per_token.isfinite().all() else float("inf")


def chosen(examples: Sequence[Example], boundary: int | None = None) -> list[Example]:
    """The longest, for windows that short ones never reach, the shortest and others between; lists cut to two."""
    ordered = sorted(examples, key=lambda e: (-e.longest, e.number))
    if boundary is not None:
        ordered = [e for e in ordered if (e.longest > boundary) == (ordered[0].longest > boundary)]
    step = max(1, (len(ordered) - 1) // (EXAMPLES - 1))
    picked = ordered[::step][: EXAMPLES - 1] + ordered[-1:]
    return [replace(each, answers=each.answers[:2]) for each in picked[:EXAMPLES]]


class Truth:
    """Sums and gradients of each answer by itself."""

    def __init__(self, engine: Engine, world: World, examples: Sequence[Example]) -> None:
        self.engine, self.world, self.examples = engine, world, examples
        self.lengths = scored_tokens(examples)
        self.singles = [replace(e, answers=(answer,)) for e in examples for answer in e.answers]
        # Different factors, so that the gradients of two branches cannot stand for each other.
        self.factors = [1.0 - 0.3 * (number % 5) for number in range(len(self.singles))]
        alone = [self.score([single], "padded", [1.0]) for single in self.singles]
        self.sums = torch.cat([sums for sums, _ in alone])
        self.gradients = [gradient[0] for _, gradient in alone]

    def score(self, examples: Sequence[Example], layout: Layout, factors: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Sums [S] and the gradient of their weighted sum at the embeddings [B, T, H], both on the CPU."""
        sums, gradient = self.engine.trace(collate(examples, layout, self.world.device), factors)
        return sums[:, 0].cpu().float(), gradient.cpu().float()

    def errors(self, layout: Layout) -> list[float]:
        """Largest error a token, and of a gradient; in two orders, so that each example has other neighbours."""
        numbers = list(range(len(self.examples)))
        found = [self.errors_in(layout, order) for order in (numbers, numbers[::-1])]
        return [max(values) for values in zip(*found, strict=True)]

    def errors_in(self, layout: Layout, order: Sequence[int]) -> list[float]:
        starts = [0]
        for example in self.examples:
            starts.append(starts[-1] + len(example.answers))
        answers = [n for i in order for n in range(starts[i], starts[i + 1])]
        examples = [self.examples[i] for i in order]
        sums, gradient = self.score(examples, layout, [self.factors[n] for n in answers])
        off = float(((sums - self.sums[answers]).abs() / self.lengths[answers]).max())
        expected = self.expected(layout, examples, answers)
        if layout == "padded":
            got = torch.cat([gradient[row, : len(self.gradients[n])] for row, n in enumerate(answers)])
        else:
            got = gradient[0]
        scale = max(float(each.abs().max()) * f for each, f in zip(self.gradients, self.factors, strict=True))
        return [off, float((got - expected).abs().max()) / scale]

    def expected(self, layout: Layout, examples: Sequence[Example], answers: Sequence[int]) -> Tensor:
        """Gradients of the answers alone, one behind the other; of a shared trunk their sum."""
        parts: list[Tensor] = []
        numbers = iter(answers)
        for example in examples:
            own = [self.gradients[n] * self.factors[n] for _ in example.answers for n in [next(numbers)]]
            trunk = example.prefix if layout == "shared" else 0
            if trunk:
                parts.append(torch.stack([each[:trunk] for each in own]).sum(0))
            parts += [each[trunk:] for each in own]
        return torch.cat(parts)
