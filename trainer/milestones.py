"""What happens between steps: evaluation, checkpoints, resume points, samples; and when."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from core.contract.losses import LOSSES
from core.contract.states import Phase
from core.contract.trainer_events import CheckpointSealed, Evaluated, Judged, ResumePointSealed, Sample
from core.disk import link_all
from trainer import checkpoint, folder, reference_checks, seal, shards, stop
from trainer.background import Background
from trainer.course import Course, rendering, ticker
from trainer.evaluate import held_out
from trainer.export import export
from trainer.losses import kl
from trainer.points import Points
from trainer.proof import Proof, prove
from trainer.sample import continuations
from trainer.schedule import steps_per_epoch
from trainer.scoring import Tick, score_examples
from trainer.verify_alone import verdict

# Parameters between two looks at the stop file.
LOOK_EVERY = 16


class Milestones:
    """`stalled`: seconds that training has waited for checkpoints and resume points (the last checkpoint apart).
    `sealed`: the finished model is, so that nobody needs to go on training from anywhere."""

    def __init__(self, course: Course) -> None:
        self.course = course
        spec = course.spec
        self.checkpoint_every = spec.checkpoint_steps or steps_per_epoch(
            len(course.data.train), spec.settings.batch_size
        )
        self.eval_every = spec.eval_steps or self.checkpoint_every
        self.points = Points(spec, course.progress.step)
        # A quarter: with what is written and what is gathered meanwhile, a shard in all.
        self.background = Background(spec.shard_bytes // 4)
        self.memory = shards.HostMemory() if course.world.device.type == "cuda" else None
        self.stalled = 0.0
        self.sealed = False

    def resume_point_due(self, step: int) -> bool:
        """What rank 0 knows counts; its answer travels with the step's reduction."""
        return self.course.world.leads and self.points.due(step)

    def after_step(self, resume_point: bool, last: bool) -> None:
        """What is due now, but after the `last` step, which has a way of its own (trainer.run). Of a run that was cut
        off in here, what it did not come to.

        A checkpoint is told before the resume point of the same step: who goes on from there has it already.
        """
        course, step = self.course, self.course.progress.step
        self.background.look()
        if step == 1:
            self.judge()
        busy = False
        if not last and step % self.eval_every == 0:
            busy = self.evaluate()
        if not last and step % self.checkpoint_every == 0 and course.progress.checkpoint_at != step:
            with self.stalling():
                self.write_checkpoint()
            busy = True
        if resume_point and not last:
            with self.stalling():
                self.write_resume_point()
            busy = True
        if busy:
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
        """Says so first: as long as it waits for room, or for another rank's, no step is heard of."""
        course = self.course
        step, begun = course.progress.step, time.time()
        course.emitter.phase(Phase.SAVING)

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
            course.data.digest,
            self.background,
            self.memory,
            tell,
        )
        self.points.copied(step, begun)

    def write_checkpoint(self) -> None:
        """The model as safetensors in checkpoints/step-N, left to the background."""
        course, background = self.course, self.background
        path, partial, _ = self.export(final=False)
        # As they are now: the training goes on meanwhile.
        meta, step, figures = self.meta(), course.progress.step, course.progress.figures

        def close() -> None:
            if seal.when_whole(partial, course.world.size, meta, lambda: background.abandoned):
                course.emitter.say(CheckpointSealed, step=step, path=self.relative(path), metrics=figures)

        if course.world.leads:
            background.submit(close)
        course.progress.checkpoint_at = course.progress.step

    def write_model(self) -> None:
        """The last checkpoint: sealed with what it is verified by and told of, so that whatever becomes of this run, it
        is stored; then verified, under second names, since who stores it deletes the first."""
        course, spec, world = self.course, self.course.spec, self.course.world
        path, partial, digests = self.export(final=True)
        self.background.drain()
        tick = ticker(spec, world, course.emitter, Phase.VERIFYING)
        made = prove(course, {name: told for each in world.gather(digests) for name, told in each.items()}, tick)
        copy = spec.workspace / "verify" / path.name
        world.agree(self.alone(lambda: self.seal_model(path, partial, made, copy)))
        self.sealed = True
        world.agree(self.alone(lambda: verdict(spec, copy, made, world.device, course.emitter, self.heed_alone)))

    def seal_model(self, path: Path, partial: Path, made: Proof, copy: Path) -> None:
        meta = {**self.meta(), "proof": made.model_dump(mode="json")}
        seal.when_whole(partial, self.course.world.size, meta, lambda: False)
        link_all(path, copy)
        told = {"step": made.step, "path": self.relative(path), "metrics": made.metrics}
        self.course.emitter.say(CheckpointSealed, **told, final=True)

    def alone(self, act: Callable[[], None]) -> Exception | None:
        """On rank 0; whatever goes wrong there has to reach the ranks that wait."""
        if self.course.world.leads:
            try:
                act()
            except Exception as found:
                return found
        return None

    def export(self, final: bool) -> tuple[Path, Path, dict[str, list[str]]]:
        """(where it will be sealed, where it is written, of the final one the digests of this rank's tensors)."""
        course, spec, world = self.course, self.course.spec, self.course.world
        path = spec.workspace / "checkpoints" / f"step-{course.progress.step}"
        partial = seal.unfinished(path)
        course.emitter.phase(Phase.EXPORTING)
        if world.leads:
            seal.open_folder(path)
        world.wait()
        digests: dict[str, list[str]] = {}
        told = digests if final else None
        files = export(course.engine, world, spec, partial, self.background, self.exporting(final), told)
        self.background.submit(lambda: seal.write_part(partial, world.rank, files))
        return path, partial, digests

    def meta(self) -> dict[str, Any]:
        course = self.course
        step, precision = course.progress.step, course.spec.settings.precision
        told = rendering(course.renderer, course.data)
        return {"step": step, "precision": precision, "base_model": course.spec.model_digest, **told}

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
