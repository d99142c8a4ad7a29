"""What happens between steps: evaluation, checkpoints, resume points, samples; and when."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from core.contract.losses import LOSSES
from core.contract.states import Phase
from core.contract.trainer_events import CheckpointSealed, Evaluated, Judged, ResumePointSealed, Sample
from trainer import checkpoint, folder, reference_checks, seal, stop
from trainer.background import Background
from trainer.course import Course, ticker
from trainer.evaluate import held_out
from trainer.export import export
from trainer.losses import kl
from trainer.sample import continuations
from trainer.schedule import steps_per_epoch
from trainer.scoring import Tick, score_examples
from trainer.verify import EXAMPLES, reload_check

# Parameters between two looks at the stop file.
LOOK_EVERY = 16


class Milestones:
    """`stalled`: seconds that training has waited for checkpoints and resume points (the last checkpoint apart)."""

    def __init__(self, course: Course) -> None:
        self.course = course
        spec = course.spec
        self.checkpoint_every = spec.checkpoint_steps or steps_per_epoch(
            len(course.data.train), spec.settings.batch_size
        )
        self.eval_every = spec.eval_steps or self.checkpoint_every
        self.saved_at = course.progress.step
        self.saved_time = time.monotonic()
        # A quarter: with what is written and what is gathered meanwhile, a shard in all.
        self.background = Background(spec.shard_bytes // 4)
        self.stalled = 0.0

    def resume_point_due(self, step: int) -> bool:
        """Rank 0's clock counts; its answer travels with the step's reduction."""
        spec = self.course.spec
        waited = time.monotonic() - self.saved_time
        return step - self.saved_at >= spec.resume_steps or waited >= spec.resume_seconds

    def after_step(self, resume_point: bool) -> None:
        """What is due now. Of a run that was cut off in here, what it did not come to.

        A checkpoint is told before the resume point of the same step: who goes on from there has it already.
        """
        course, step = self.course, self.course.progress.step
        self.background.look()
        if step == 1:
            self.judge()
        ended = step == course.total
        busy = False
        if ended or step % self.eval_every == 0:
            busy = self.evaluate()
        if not ended and step % self.checkpoint_every == 0 and course.progress.checkpoint_at != step:
            with self.stalling():
                self.write_checkpoint(final=False)
            busy = True
        if resume_point:
            with self.stalling():
                self.write_resume_point()
        if busy and not ended:
            course.emitter.phase(Phase.TRAINING, step, course.total)

    def judge(self) -> None:
        """What the reference's log-probabilities say of the examples that the run uses, told while training goes on:
        nobody waits for it."""
        course = self.course
        if not course.world.leads or not LOSSES[course.spec.settings.loss].reference:
            return

        def tell() -> None:
            train = course.data.train
            examples, reference = train.pick(course.used), course.reference.train[train.numbers(course.used)]
            found = reference_checks.checks(examples, reference, course.spec.seed)
            if found:
                course.emitter.say(Judged, findings=found, examples=len(examples), of=len(train))

        self.background.submit(tell)

    def evaluate(self) -> bool:
        """Held-out figures of now, once a step. At step 0 the reference pass has scored them already."""
        course, progress = self.course, self.course.progress
        data, spec, step = course.data, course.spec, course.progress.step
        if not len(data.held_out) or progress.evaluated_at == step:
            return False
        policy, stray = course.reference.held_out, course.reference.held_out_mismatched
        if step > 0 or not LOSSES[spec.settings.loss].reference:
            tick = ticker(spec, course.world, course.emitter, Phase.EVALUATING)
            policy, stray = (
                score_examples(course.engine, course.world, each.examples, course.layout, spec.row_tokens, tick)
                for each in (data.held_out, data.held_out_mismatched)
            )
        moved = kl((stray - course.reference.held_out_mismatched)[:, 0]) if len(stray) else None
        progress.held_out = held_out(data.held_out, policy, course.reference.held_out, moved, spec.settings, step > 0)
        progress.evaluated_at = step
        course.emitter.say(Evaluated, step=step, metrics=progress.held_out)
        return True

    def write_resume_point(self) -> None:
        course = self.course
        step = course.progress.step

        def tell(path: Path) -> None:
            course.emitter.say(ResumePointSealed, step=step, path=self.relative(path))

        progress = asdict(course.progress)
        checkpoint.save(
            course.spec,
            course.world,
            course.engine,
            course.reference,
            course.layout,
            progress,
            self.background,
            tell,
        )
        self.saved_at, self.saved_time = step, time.monotonic()

    def write_checkpoint(self, final: bool) -> None:
        """The model as safetensors in checkpoints/step-N; the final one is loaded again and compared before sealing."""
        course, spec, world, background = self.course, self.course.spec, self.course.world, self.background
        step, figures, precision = course.progress.step, course.progress.figures, spec.settings.precision
        path = spec.workspace / "checkpoints" / f"step-{step}"
        partial = seal.unfinished(path)
        if world.leads:
            seal.open_folder(path)
        world.wait()
        files = export(course.engine, world, spec, partial, background, self.exporting(final))
        background.submit(lambda: seal.write_part(partial, world.rank, files))
        if final:
            background.drain()
            world.wait()
            self.verify(partial)
        meta = {"step": step, "precision": precision, "base_model": spec.model_digest}

        def close() -> None:
            if seal.when_whole(partial, world.size, meta, lambda: background.abandoned):
                told = self.relative(path)
                course.emitter.say(CheckpointSealed, step=step, path=told, metrics=figures, final=final)

        if world.leads:
            background.submit(close)
        course.progress.checkpoint_at = step
        if final:
            background.drain()

    def exporting(self, final: bool) -> Tick:
        """A stop is heeded now and then. But a drain that cut off any other than the final one would leave it out."""
        course = self.course

        def tick(done: int, total: int) -> None:
            course.emitter.phase(Phase.EXPORTING, done, total)
            if done % LOOK_EVERY == 0:
                wanted = self.wanted()
                if final or wanted == stop.WORDS["cancel"]:
                    stop.heed(wanted)

        return tick

    def verify(self, exported: Path) -> None:
        """All ranks score with the engine, rank 0 with the folder; a difference fails the run on every rank."""
        course, spec, world = self.course, self.course.spec, self.course.world
        examples = (course.data.held_out.examples or course.data.train.examples)[:EXAMPLES]
        course.emitter.phase(Phase.VERIFYING, 0, len(examples))
        tick = ticker(spec, world, course.emitter, Phase.VERIFYING)
        expected = score_examples(course.engine, world, examples, course.layout, spec.row_tokens, tick)
        error: Exception | None = None
        if world.leads:
            try:
                fused = course.engine.scorer.fused
                reload_check(spec, exported, examples, expected, world.device, fused, self.heed_alone)
            # Whatever goes wrong on rank 0 alone has to reach the ranks that wait.
            except Exception as found:
                error = found
        world.agree(error)
        course.emitter.phase(Phase.VERIFYING, len(examples), len(examples))

    def sample(self, when: str) -> None:
        course, prompts = self.course, self.course.spec.probe_prompts
        if not prompts:
            return
        course.emitter.phase(Phase.SAMPLING, 0, len(prompts))
        context = folder.context_length(course.spec.model_dir)
        wanted = [0]

        def stopped() -> bool:
            wanted[0] = self.wanted()
            return wanted[0] not in (0, stop.FINISH)

        said = continuations(course.engine, course.world, course.renderer, course.openings, context, stopped)
        stop.heed(wanted[0])
        for prompt, completion in zip(prompts, said, strict=True):
            course.emitter.say(Sample, step=course.progress.step, when=when, prompt=prompt, completion=completion)
        course.emitter.phase(Phase.SAMPLING, len(prompts), len(prompts))

    def wanted(self) -> int:
        """What the stop file says; all ranks ask together."""
        world = self.course.world
        return int(world.sum(torch.tensor(stop.wanted(self.course.spec.workspace, world.rank))))

    def heed_alone(self) -> None:
        """On rank 0 while the others wait for its word."""
        stop.heed(stop.wanted(self.course.spec.workspace, 0))

    @contextlib.contextmanager
    def stalling(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.stalled += time.monotonic() - began

    def relative(self, path: Path) -> str:
        return path.relative_to(self.course.spec.workspace).as_posix()
