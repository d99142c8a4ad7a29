"""The training loop: a global batch, its gradient, one look at the numbers, one update; then what is due."""

import math
import time
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from core.contract.states import Phase
from core.contract.trainer_events import Step
from trainer import figures, gate, stop
from trainer.ahead import ahead
from trainer.alarms import Alarms
from trainer.batches import global_batch
from trainer.collection import scores
from trainer.course import Course
from trainer.failures import Diverged
from trainer.layouts import Batch, collate
from trainer.losses import Scores, loss, preference, share
from trainer.milestones import Milestones
from trainer.rows import Row, plan
from trainer.schedule import learning_rate, steps_per_epoch
from trainer.unrelated import estimate

# Beside the figures: what one reduction over the ranks carries too.
TOKENS, GRADIENT, STOP, RESUME = range(4)


@dataclass(frozen=True)
class Stepped:
    """What the ranks know together after an optimizer step. `figures` are means over the global batch's examples."""

    figures: dict[str, float]
    examples: int
    tokens: int
    grad_norm: float
    stop: int
    resume_point: bool


def train(course: Course, milestones: Milestones) -> None:
    """Until the last step, or the one after which the worker asks to finish.

    Raises StopRequested between steps, Diverged before an update that would spoil the model.
    """
    emitter, progress, total = course.emitter, course.progress, course.total
    emitter.phase(Phase.TRAINING, progress.step, total)
    alarms = Alarms(course.spec.settings, total, progress, emitter.warn)
    durations: deque[float] = deque(maxlen=20)
    while progress.step < total:
        began = time.monotonic()
        stepped = train_step(course, progress.step + 1, milestones.resume_point_due(progress.step + 1))
        durations.append(time.monotonic() - began)
        tell(course, stepped, durations)
        alarms.look(stepped.figures, stepped.grad_norm)
        last = progress.step == total or stepped.stop == stop.FINISH
        milestones.after_step(stepped.resume_point, last)
        if last:
            return
        stop.heed(stepped.stop)


def train_step(course: Course, step: int, resume_due: bool) -> Stepped:
    """One optimizer step on a global batch, which no rank count and no row budget changes."""
    spec, world, engine = course.spec, course.world, course.engine
    examples = course.data.train.examples
    batch = global_batch(spec.seed, step, spec.train_digest, len(examples), spec.settings.batch_size)
    kl = estimate(course, batch) if course.data.mismatched.sequences else None
    rows = plan(batch, examples, course.layout, world.rank, world.size, spec.row_tokens, course.engine.scorer.boundary)
    sums = torch.zeros(len(figures.NAMES), 2, dtype=torch.float64, device=world.device)
    others = torch.zeros(4, dtype=torch.float64, device=world.device)
    first_look = gate.FirstLook(course) if step == 1 else None
    train = course.data.train
    made = ahead(rows, lambda row: collate(train.pick(row.examples), course.layout, world.device))
    for number, (row, fed) in enumerate(made, start=1):
        last = number == len(rows)
        seen, found, tokens = run_row(course, row, fed, kl, len(batch), last=last, first_look=first_look)
        if row.weight:
            sums += found
            others[TOKENS] += tokens
            if first_look:
                first_look.take(seen)
    others[GRADIENT] = engine.squared_gradient_norm()
    others[STOP] = stop.wanted(spec.workspace, world.rank)
    others[RESUME] = resume_due
    totals = world.sum(torch.cat([sums.flatten(), others]))
    means = figures.means(totals[:-4].view(-1, 2).tolist())
    tokens, gradient, stopped, resume = totals[-4:].tolist()
    if not (math.isfinite(means["loss"]) and math.isfinite(gradient)):
        what = "gradient" if math.isfinite(means["loss"]) else "loss"
        raise Diverged(f"The {what} is not a finite number at step {step}: try a lower learning rate.", step=step)
    if first_look:
        first_look.judge(means["preference"])
    engine.update(learning_rate(step, course.total, spec.settings), step)
    course.progress.step = step
    course.progress.tokens += int(tokens)
    return Stepped(means, len(batch), int(tokens), math.sqrt(gradient), int(stopped), resume > 0)


def run_row(
    course: Course,
    row: Row,
    batch: Batch,
    kl: Tensor | None,
    batch_examples: int,
    last: bool,
    first_look: gate.FirstLook | None,
) -> tuple[Scores, Tensor, int]:
    """Forward and backward of a row. Its scores without the graph; its figures as sums and counts; tokens fed."""
    world, engine, settings, train = course.world, course.engine, course.spec.settings, course.data.train
    chosen = train.pick(row.examples)
    reference = course.reference.train[train.numbers(row.examples)].to(world.device)
    plain = first_look.plain(batch) if first_look else None
    policy = engine.score(batch)
    if first_look and plain:
        first_look.same_forward(policy, plain, chosen)
    seen = scores(chosen, policy, reference, kl)
    per_example = loss(seen, settings)
    engine.backward(share(per_example, row.weight, batch_examples, world.size), last)
    still = seen._replace(policy=seen.policy.detach(), heads=seen.heads.detach())
    found = figures.sums(still, settings, per_example.detach(), preference(still, settings))
    return still, found, batch.tokens


def tell(course: Course, stepped: Stepped, durations: deque[float]) -> None:
    """A `step` event, on every step."""
    spec, progress, total = course.spec, course.progress, course.total
    metrics = figures.shown(stepped.figures)
    metrics["grad_norm"] = stepped.grad_norm
    metrics["learning_rate"] = learning_rate(progress.step, total, spec.settings)
    metrics["tokens_per_second"] = stepped.tokens / durations[-1]
    if course.world.device.type == "cuda":
        metrics["memory_bytes"] = float(torch.cuda.max_memory_allocated())
    progress.metrics = metrics
    course.emitter.say(
        Step,
        step=progress.step,
        total_steps=total,
        epoch=progress.step / steps_per_epoch(len(course.data.train), spec.settings.batch_size),
        metrics=metrics,
        pairs_per_second=stepped.examples / durations[-1],
        eta_seconds=(total - progress.step) * sum(durations) / len(durations),
        tokens=progress.tokens,
    )
