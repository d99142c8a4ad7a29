"""The training loop: a global batch, its gradient, one look at the numbers, one update; then what is due."""

import math
import time
from collections import deque

import torch
from torch import Tensor

from core.contract.states import Phase
from core.contract.trainer_events import Step
from trainer import gate, stop
from trainer.batches import Row, deal, global_batch
from trainer.course import Course
from trainer.failures import Diverged
from trainer.losses import Moved, moved, negative_log_likelihood, preference, rewards, share, wins
from trainer.milestones import Milestones
from trainer.schedule import learning_rate, steps_per_epoch
from trainer.scorer import collate
from trainer.world import World

# Sums over pairs, in this order; then four numbers that are no means.
FIGURES = (
    "loss",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "nll_loss",
)
PREFERENCE = len(FIGURES)
TOKENS, GRADIENT, STOP, RESUME = range(PREFERENCE + 1, PREFERENCE + 5)


def train(course: Course, milestones: Milestones) -> None:
    """Until the last step. Raises StopRequested between steps, Diverged before an update that would spoil the model."""
    emitter, progress, total = course.emitter, course.progress, course.total
    emitter.phase(Phase.TRAINING, progress.step, total)
    durations: deque[float] = deque(maxlen=20)
    while progress.step < total:
        began = time.monotonic()
        totals = train_step(course, progress.step + 1, milestones.resume_point_due(progress.step + 1))
        durations.append(time.monotonic() - began)
        tell(course, totals, durations)
        milestones.after_step(resume_point=totals[RESUME] > 0)
        stop.heed(int(totals[STOP]))


def train_step(course: Course, step: int, resume_due: bool) -> list[float]:
    """One optimizer step. Returns the sums over the global batch (see FIGURES)."""
    spec, world, engine = course.spec, course.world, course.engine
    batch = global_batch(spec.seed, step, spec.train_digest, len(course.pairs.train), spec.settings.batch_size)
    rows = deal(batch, course.pairs.longest, world.rank, world.size, spec.micro_batch_size)
    sums = torch.zeros(RESUME + 1, dtype=torch.float64, device=world.device)
    distances: list[float] = []
    differences: list[float] = []
    for number, row in enumerate(rows, start=1):
        first = step == 1 and number == 1
        figures, h, per_token = run_row(course, row, len(batch), last=number == len(rows), compare=first)
        if row.weight:
            sums[: len(figures)] += figures
            if step == 1:
                distances += per_token.flatten().tolist()
                differences += h.difference.tolist()
    sums[GRADIENT] = engine.squared_gradient_norm()
    sums[STOP] = stop.wanted(spec.workspace, world.rank)
    sums[RESUME] = resume_due and world.leads
    totals: list[float] = world.sum(sums).tolist()
    if not (math.isfinite(totals[0]) and math.isfinite(totals[GRADIENT])):
        what = "gradient" if math.isfinite(totals[0]) else "loss"
        raise Diverged(f"The {what} is not a finite number at step {step}: try a lower learning rate.", step=step)
    if step == 1:
        gate.same_reference(from_all(world, distances), spec.settings)
        gate.right_loss(totals[PREFERENCE] / len(batch), from_all(world, differences), spec.settings)
    engine.update(learning_rate(step, course.total, spec.settings))
    course.progress.step = step
    course.progress.tokens += int(totals[TOKENS])
    return [*totals, float(len(batch))]


def from_all(world: World, numbers: list[float]) -> Tensor:
    return torch.tensor([number for part in world.gather(numbers) for number in part])


def run_row(course: Course, row: Row, batch_pairs: int, last: bool, compare: bool) -> tuple[Tensor, Moved, Tensor]:
    """Forward and backward of a micro-batch. Sums over its pairs (FIGURES, preference, tokens); h; h a token."""
    world, engine, settings = course.world, course.engine, course.spec.settings
    batch = collate([course.pairs.train[i] for i in row.pairs], world.device)
    reference = course.reference.train[list(row.pairs)].to(world.device)
    lengths = course.pairs.train_lengths[list(row.pairs)].to(world.device)
    plain = engine.score_only(batch) if compare else None
    policy = engine.score(batch)
    if plain is not None:
        gate.same_forward(policy, plain, lengths, settings)
    h = moved(policy, reference)
    preferred = preference(h, settings)
    nll = negative_log_likelihood(policy, lengths)
    loss = preferred + settings.nll_weight * nll if settings.nll_weight else preferred
    engine.backward(share(loss, row.weight, batch_pairs, world.size), last)
    with torch.no_grad():
        chosen, rejected = rewards(h, settings.beta)
        accurate = wins(h.difference, lengths)
        columns = (loss, chosen, rejected, chosen - rejected, accurate, policy[:, 0], policy[:, 1], nll, preferred)
        figures = [column.detach().double().sum() for column in columns]
        tokens = torch.tensor(float(batch.tokens), dtype=torch.float64, device=world.device)
        still = moved(policy.detach(), reference)
        return torch.stack([*figures, tokens]), still, torch.stack(still, dim=1) / lengths


def tell(course: Course, totals: list[float], durations: deque[float]) -> None:
    """A `step` event, on every step."""
    spec, progress, total = course.spec, course.progress, course.total
    pairs = totals[-1]
    metrics = {name: totals[i] / pairs for i, name in enumerate(FIGURES)}
    metrics["grad_norm"] = math.sqrt(totals[GRADIENT])
    metrics["learning_rate"] = learning_rate(progress.step, total, spec.settings)
    metrics["tokens_per_second"] = totals[TOKENS] / durations[-1]
    if course.world.device.type == "cuda":
        metrics["memory_bytes"] = float(torch.cuda.max_memory_allocated())
    progress.metrics = metrics
    course.emitter.say(
        Step,
        step=progress.step,
        total_steps=total,
        epoch=progress.step / steps_per_epoch(len(course.pairs.train), spec.settings.batch_size),
        metrics=metrics,
        pairs_per_second=pairs / durations[-1],
        eta_seconds=(total - progress.step) * sum(durations) / len(durations),
        tokens=progress.tokens,
    )
