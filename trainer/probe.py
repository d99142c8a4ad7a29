"""Which layout a model can be trained in: tried on a few examples, never decided by the model's name.

Truth is each answer alone, unpadded, through the model's own attention; and through the fused head where that is found
to be the model's own logits. A layout is fit when the same answers, among neighbours, get the same log-probabilities
and the same gradients at the embeddings, within the model's own rounding (trainer.noise), and when the gates agree that
know no rounding (trainer.exact).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.contract.run_spec import RunSpec
from trainer import seed
from trainer.collection import scored_tokens
from trainer.data import Example
from trainer.engine import Engine
from trainer.exact import Gate
from trainer.failures import GateFailed, of_the_node
from trainer.layouts import Layout, collate
from trainer.noise import Noise, by_root, measured
from trainer.reference import refuse_non_finite
from trainer.render import Answer
from trainer.world import World

LAYOUTS: tuple[Layout, ...] = ("shared", "packed", "padded")
# The model's own bf16 logits are rounded, by up to 0.06 between 16 and 32; the fused head's are not.
OWN_LOGITS = {"fp32": 0.0, "bf16": 0.1}
EXAMPLES = 4
# The longest example is cut to so many tokens, for windows that short ones never reach; the others to these. The exact
# gates and the head are tried on two of the short ones.
LONGEST = 1024
SHORT = 512


@dataclass(frozen=True)
class Probe:
    """`errors` of the head and of each layout that was tried: of an answer's sum / sqrt(scored tokens), and of the
    gradients, L2. `reason`: why not an earlier one."""

    layout: Layout
    errors: dict[str, list[float]]
    reason: str
    noise: Noise


def probe(
    engine: Engine, world: World, spec: RunSpec, examples: Sequence[Example], ends: frozenset[int] | None = None
) -> Probe:
    """The first layout that is right on all ranks. Raises GateFailed where none is, or the forced one is not.

    BadModel where the model gives no finite number, or numbers of more noise than can be trained on. `ends`: the ids
    that may end an answer.
    """
    few = chosen(examples, engine.scorer.boundary)
    precision = spec.settings.precision
    errors: dict[str, list[float]] = {}
    reasons: list[str] = []
    truth = Truth(engine, world, few)
    noise = truth.noise(precision)
    short = [number for number, each in enumerate(few) if each.longest <= SHORT] or [len(few) - 2, len(few) - 1]
    two = [short[0], short[-1]]
    if engine.scorer.fused:
        off = max(world.gather(head_error(engine, world, [few[number] for number in two])))
        limit = max(noise.limit, OWN_LOGITS[precision])
        errors["head"] = [off]
        if not off <= limit:
            engine.scorer.fused = False
            reasons.append(
                f"The fused head is off by {off:.1e} x sqrt(tokens), at most {limit:.1e}: the model's own logits are "
                "used."
            )
            truth = Truth(engine, world, few)
            noise = truth.noise(precision)
    gate = truth.gate(two, noise, ends)
    for layout in LAYOUTS if spec.layout == "auto" else (spec.layout,):
        errors[layout], reason = tried(truth, gate, layout)
        if not reason:
            return Probe(layout, errors, " ".join(reasons), noise)
        reasons.append(f"{layout}: {reason.rstrip('.')}.")
    raise GateFailed(
        f"No layout scores an answer among others as it does alone, so nothing was trained: {' '.join(reasons)} "
        "Either Palate does not serve this architecture, or it has a fault: please report the model's name and this "
        "message."
    )


def tried(truth: "Truth", gate: Gate, layout: Layout) -> tuple[list[float], str]:
    """Errors, and why the layout is unfit, the same on every rank; "" where it is fit.

    A layout that a model refuses is unfit, whatever it raises; the engine is left as if it had not been tried.
    """
    seed.strict(layout == "padded")
    try:
        mine, said = once_more(truth, layout), ""
    except Exception as error:
        if of_the_node(error) is not None:
            raise  # memory, a GPU, a peer: no fault of the layout
        truth.engine.forget()
        mine, said = [float("inf")] * 2, (str(error).splitlines() or [type(error).__name__])[0]
    found = [max(values) for values in zip(*truth.world.gather(mine), strict=True)]
    said = next(filter(None, truth.world.gather(said)), "")
    if said:
        return found, said
    sums, gradients = found
    noise = gate.noise
    if not (sums <= noise.limit and gradients <= noise.gradient_limit):
        return found, (
            f"off by {sums:.1e} x sqrt(tokens) from each answer alone ({noise.said}), gradients by {gradients:.1e} "
            f"({noise.gradients_said})"
        )
    return found, gate.refuses(layout)


def head_error(engine: Engine, world: World, examples: Sequence[Example]) -> float:
    """Of the fused head against the model's own logits, on each example's first answer; / sqrt(scored tokens)."""
    given = [replace(e, answers=e.answers[:1]) for e in examples]
    batch = collate(given, "padded", world.device)
    fused = engine.score_only(batch)[:, 0]
    engine.scorer.fused = False
    own = engine.score_only(batch)[:, 0]
    engine.scorer.fused = True
    off = by_root((fused - own).cpu(), scored_tokens(given))
    return float(off.max()) if off.isfinite().all() else float("inf")


def chosen(examples: Sequence[Example], boundary: int | None = None) -> list[Example]:
    """The longest, for windows that short ones never reach, the shortest and others between; lists cut to two."""
    ordered = sorted(examples, key=lambda e: (-e.longest, e.number))
    if boundary is not None:
        ordered = [e for e in ordered if (e.longest > boundary) == (ordered[0].longest > boundary)]
    step = max(1, (len(ordered) - 1) // (EXAMPLES - 1))
    places = sorted({*range(0, len(ordered), step)[: EXAMPLES - 1], len(ordered) - 1})
    picked = [ordered[place] for place in places]
    # A row needs neighbours.
    picked = picked * 2 if len(picked) == 1 else picked
    least = 0 if boundary is None or picked[0].longest <= boundary else boundary + 1
    limits = [LONGEST, *[SHORT] * (len(picked) - 1)]
    return [
        cut(replace(each, answers=each.answers[:2]), max(limit, least))
        for each, limit in zip(picked, limits, strict=True)
    ]


def cut(example: Example, limit: int) -> Example:
    """Of a prompt that is too long its end, of an answer its beginning and its last token, which ends it; what they say
    means nothing here."""
    dropped = max(0, min(example.prefix - 1, example.longest - limit))
    answers = []
    for answer in example.answers:
        ids = answer.ids[dropped : dropped + limit]
        ids = (*ids[:-1], answer.ids[-1])
        spans = [(max(start - dropped, 1), min(end - dropped, len(ids))) for start, end in answer.spans]
        kept = [(start, end) for start, end in spans if start < end]
        # Where it was cut in front of what is scored, or behind: its last token, as with every answer.
        answers.append(
            Answer(ids, tuple(kept) if kept and kept[-1][1] == len(ids) else (*kept, (len(ids) - 1, len(ids))))
        )
    return replace(example, prefix=example.prefix - dropped, answers=tuple(answers))


def once_more(truth: "Truth", layout: Layout) -> list[float]:
    """Errors; a second time where the model has an operation without a deterministic kernel (Mamba's sums, say)."""
    try:
        return truth.errors(layout)
    except RuntimeError as error:
        if seed.NOT_DETERMINISTIC not in str(error):
            raise
    seed.strict(False)
    truth.engine.forget()
    return truth.errors(layout)


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

    def noise(self, precision: str) -> Noise:
        """Raises BadModel, where the numbers are not finite too."""
        refuse_non_finite(self.examples, self.sums[:, None])
        return measured(self.engine, self.world, precision, self.singles, self.sums, self.gradients)

    def gate(self, numbers: Sequence[int], noise: Noise, ends: frozenset[int] | None) -> Gate:
        """The exact gates for some of the examples."""
        starts = [0]
        for example in self.examples:
            starts.append(starts[-1] + len(example.answers))
        alone = [self.gradients[n] for i in numbers for n in range(starts[i], starts[i + 1])]
        return Gate(self.engine, self.world, [self.examples[i] for i in numbers], alone, noise, ends)

    def errors(self, layout: Layout) -> list[float]:
        """rms of the sums' differences / sqrt(scored tokens); of the gradients, L2 norm of the difference / L2 norm."""
        sums, gradient = self.score(self.examples, layout, self.factors)
        off = float(by_root(sums - self.sums, self.lengths).square().mean().sqrt())
        expected = self.expected(layout)
        if layout == "padded":
            got = torch.cat([gradient[row, : len(own)] for row, own in enumerate(self.gradients)])
        else:
            got = gradient[0]
        return [off, float((got - expected).norm() / expected.norm())]

    def expected(self, layout: Layout) -> Tensor:
        """Gradients of the answers alone, one behind the other; of a shared trunk their sum."""
        parts: list[Tensor] = []
        weighted = (own * factor for own, factor in zip(self.gradients, self.factors, strict=True))
        for example in self.examples:
            own = [next(weighted) for _ in example.answers]
            trunk = example.prefix if layout == "shared" else 0
            if trunk:
                parts.append(torch.stack([each[:trunk] for each in own]).sum(0))
            parts += [each[trunk:] for each in own]
        return torch.cat(parts)
