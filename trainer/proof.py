"""What a finished model is verified by, made by the run that trained it and sealed beside the model: whoever comes to
verify it, on any node, needs no engine, no data and nothing of the run.
"""

from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from trainer.collection import Collection, scored_tokens
from trainer.course import Course
from trainer.data import Example
from trainer.layouts import Layout, collate
from trainer.noise import OTHER_TILE_BYTES, by_root, head_tiles, other_attention
from trainer.render import Answer
from trainer.rows import plan
from trainer.scoring import Tick, score_examples
from trainer.slope import Slope

# Scored again by whoever verifies, one model after the other; and of them, those whose noise is measured.
EXAMPLES, NOISY = 16, 4
# Of all of them together: each is scored three times, and the proof lies in a row of the database until it is used.
TOKENS = 8_192
# Of a row, so that the whole table of a loaded model's logits is small: 128,256 columns in fp32 are 1 GiB.
ROW_TOKENS = 2_048
# A checkpoint's metric: of what was trained, the share that its weights hold (trainer.slope).
UPDATE_SHARE = "palate/update_share"


class Scored(BaseModel):
    """An example's answers: ids of prompt and answer, and the scored spans."""

    prefix: int
    answers: list[tuple[list[int], list[tuple[int, int]]]]


class Proof(BaseModel):
    """`sums`: log pi of each answer of `examples`, in nats, as the engine gives it; `adapted`: through the adapter, in
    fp32, where that was exported too. `noise`: rms of what rounding alone
    changes in them, in nats / sqrt(scored tokens).

    `fused`: whether the sums came through the fused head. `tied`: head and embeddings are one weight. `tensors`: by
    file, the sha256 of each tensor as it was made, cut to 16 digits, in the order of the file. `scaling`: of the
    adapter, alpha / r. `slope`: of what was trained, what the exported weights hold, where they were merged or rounded.
    `opening`: a prompt up to where the assistant begins, `ends`: what ends its answer.
    """

    model_config = ConfigDict(extra="ignore")

    step: int
    total_steps: int
    pairs: int
    tokens: int
    metrics: dict[str, float]
    examples: list[Scored]
    sums: list[float]
    adapted: list[float] | None
    noise: float
    fused: bool
    tied: bool
    tensors: dict[str, list[str]]
    scaling: float | None
    slope: Slope | None
    opening: list[int]
    ends: list[int]

    def answers(self) -> list[Example]:
        return [
            Example(
                id=str(number),
                line=number,
                prefix=each.prefix,
                answers=tuple(Answer(tuple(ids), tuple(spans)) for ids, spans in each.answers),
            )
            for number, each in enumerate(self.examples)
        ]


def chosen(examples: Sequence[Example]) -> list[Example]:
    """The first few, one at least."""
    found: list[Example] = []
    for example in examples[:EXAMPLES]:
        if found and sum(each.tokens for each in [*found, example]) > TOKENS:
            break
        found.append(example)
    return found


def prove(course: Course, tensors: dict[str, list[str]], tick: Tick) -> Proof:
    """By all ranks, at the very end: of an adapter that was exported merged, the sums are those of the merged weights.
    In bf16 a forward through the adapter is another model than they are. `tensors`: of all ranks.
    """
    engine, progress, spec = course.engine, course.progress, course.spec
    examples = chosen(course.data.held_out.examples or course.data.train.examples)
    merged = spec.settings.lora is not None and "model" in spec.export
    adapted = None
    if spec.settings.lora and "adapter" in spec.export and spec.settings.precision == "fp32":
        adapted = alike(course, examples, tick, reference=False).tolist()
    slope = engine.merge_adapter(spec.settings.precision) if merged else None
    if spec.settings.lora is None and spec.settings.precision == "bf16":
        slope = engine.update_kept(spec.model_dir)
    sums, noise = scored(course, examples, tick, reference=merged)
    first = examples[0]
    return Proof(
        step=progress.step,
        total_steps=course.total,
        pairs=len(course.data.train),
        tokens=progress.tokens,
        metrics=progress.figures | ({UPDATE_SHARE: slope.value} if slope else {}),
        examples=[
            Scored(prefix=each.prefix, answers=[(list(a.ids), list(a.spans)) for a in each.answers])
            for each in examples
        ],
        sums=sums.tolist(),
        adapted=adapted,
        noise=noise,
        fused=engine.scorer.fused,
        tied=is_tied(engine.model),
        tensors=tensors,
        scaling=engine.scaling,
        slope=slope,
        opening=course.openings[0] if course.openings else list(first.answers[0].ids[: first.prefix]),
        ends=sorted(course.renderer.end_ids | course.renderer.usual_end),
    )


def alike(course: Course, examples: Sequence[Example], tick: Tick, *, reference: bool) -> Tensor:
    """Sums [S] in the very rows in which they will be compared: every rank scores all of them."""
    engine, collection, done = course.engine, Collection(examples), 0
    sums = torch.zeros(collection.sequences)
    row_tokens = min(course.spec.row_tokens, ROW_TOKENS)
    rows = plan(range(len(examples)), examples, "padded", 0, 1, row_tokens, engine.scorer.boundary)
    for row in rows:
        batch = collate(collection.pick(row.examples), "padded", course.world.device)
        sums[collection.numbers(row.examples)] = engine.score_only(batch, reference=reference)[:, 0].cpu()
        done += len(row.examples)
        tick(done, len(examples))
    return sums


def scored(course: Course, examples: Sequence[Example], tick: Tick, *, reference: bool) -> tuple[Tensor, float]:
    """The engine's sums [S] (`alike`), and their noise: what the run's own layout, other rows and tiles and another
    attention function change in the first of them, which all see the weights that were exported.

    Never less than the noise that the probe has found in a few answers before the training.
    """
    engine, row_tokens, few = course.engine, min(course.spec.row_tokens, ROW_TOKENS) // 2, examples[:NOISY]

    def score(layout: Layout) -> Tensor:
        return score_examples(engine, course.world, few, layout, row_tokens, tick, reference=reference)[:, 0]

    sums = alike(course, examples, tick, reference=reference)
    others = [score(course.layout)]
    longest = max(example.longest for example in few)
    with head_tiles(OTHER_TILE_BYTES), other_attention(engine, course.world.device, longest):
        others.append(score("padded"))
    lengths = scored_tokens(few)
    off = torch.cat([by_root(other - sums[: len(lengths)], lengths) for other in others])
    return sums, max(course.noise.sums, float(off.square().mean().sqrt()))


def is_tied(model: torch.nn.Module) -> bool:
    """Whether the head's weight is that of the embeddings."""
    ends = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[operator]
    return getattr(ends[0], "weight", None) is getattr(ends[1], "weight", None)
