"""What happens between steps: evaluation, checkpoints, resume points, samples; and when."""

import time
from pathlib import Path

from core.contract import manifest
from core.contract.states import Phase
from core.contract.trainer_events import CheckpointSealed, Evaluated, ResumePointSealed, Sample
from trainer import checkpoint, folder, seal
from trainer.course import Course, ticker
from trainer.evaluate import held_out
from trainer.export import export
from trainer.sample import continuations
from trainer.schedule import steps_per_epoch
from trainer.scoring import score_pairs
from trainer.verify import PAIRS, reload_check


class Milestones:
    def __init__(self, course: Course) -> None:
        self.course = course
        spec = course.spec
        self.checkpoint_every = spec.checkpoint_steps or steps_per_epoch(
            len(course.pairs.train), spec.settings.batch_size
        )
        self.eval_every = spec.eval_steps or self.checkpoint_every
        self.saved_at = course.progress.step
        self.saved_time = time.monotonic()

    def resume_point_due(self, step: int) -> bool:
        """Rank 0's clock counts; its answer travels with the step's reduction."""
        spec = self.course.spec
        waited = time.monotonic() - self.saved_time
        return step - self.saved_at >= spec.resume_steps or waited >= spec.resume_seconds

    def after_step(self, resume_point: bool) -> None:
        """A checkpoint is told before the resume point of the same step: who goes on from there has it already."""
        course, step = self.course, self.course.progress.step
        ended = step == course.total
        busy = False
        if ended or step % self.eval_every == 0:
            busy = self.evaluate()
        if not ended and step % self.checkpoint_every == 0:
            self.write_checkpoint(final=False)
            busy = True
        if resume_point:
            self.write_resume_point()
        if busy and not ended:
            course.emitter.phase(Phase.TRAINING, step, course.total)

    def evaluate(self) -> bool:
        """Held-out figures of now, once a step. At step 0 the reference pass has scored them already."""
        course, progress = self.course, self.course.progress
        pairs, step = course.pairs.held_out, progress.step
        if not pairs or progress.evaluated_at == step:
            return False
        policy = course.reference.held_out
        if step > 0:
            tick = ticker(course.spec, course.world, course.emitter, Phase.EVALUATING)
            policy = score_pairs(course.engine, course.world, pairs, course.spec.micro_batch_size, tick)
        lengths = course.pairs.held_out_lengths
        progress.held_out = held_out(policy, course.reference.held_out, lengths, course.spec.settings, step > 0)
        progress.evaluated_at = step
        course.emitter.say(Evaluated, step=step, metrics=progress.held_out)
        return True

    def write_resume_point(self) -> None:
        course, step = self.course, self.course.progress.step
        progress = {"step": step, "tokens": course.progress.tokens, "metrics": course.progress.metrics}
        path = checkpoint.save(course.spec, course.world, course.engine, course.reference, progress)
        self.saved_at, self.saved_time = step, time.monotonic()
        course.emitter.say(ResumePointSealed, step=step, path=self.relative(path))

    def write_checkpoint(self, final: bool) -> None:
        """The model as safetensors in checkpoints/step-N; the final one is loaded again and compared before sealing."""
        course, spec, world, step = self.course, self.course.spec, self.course.world, self.course.progress.step
        path = spec.workspace / "checkpoints" / f"step-{step}"
        partial = path.with_name(path.name + ".tmp")
        if world.leads:
            seal.open_folder(path)
        precision = spec.settings.precision
        export(
            course.engine,
            world,
            spec.model_dir,
            partial,
            precision,
            spec.shard_bytes,
            lambda done, total: course.emitter.phase(Phase.EXPORTING, done, total),
        )
        if final:
            self.verify(partial)
        if world.leads:
            meta = {"step": step, "precision": precision, "base_model": spec.model_digest}
            seal.close_folder(partial, manifest.build(partial, **meta))
        world.wait()
        figures = course.progress.figures
        course.emitter.say(CheckpointSealed, step=step, path=self.relative(path), metrics=figures, final=final)

    def verify(self, exported: Path) -> None:
        """All ranks score with the engine, rank 0 with the folder; a difference fails the run on every rank."""
        course, spec, world = self.course, self.course.spec, self.course.world
        pairs = (course.pairs.held_out or course.pairs.train)[:PAIRS]
        course.emitter.phase(Phase.VERIFYING, 0, 1)
        expected = score_pairs(course.engine, world, pairs, spec.micro_batch_size, lambda done, total: None)
        error: Exception | None = None
        if world.leads:
            try:
                reload_check(exported, pairs, expected, spec.settings.precision, spec.micro_batch_size, world.device)
            # Whatever goes wrong on rank 0 alone has to reach the ranks that wait.
            except Exception as found:
                error = found
        world.agree(error)
        course.emitter.phase(Phase.VERIFYING, 1, 1)

    def sample(self, when: str) -> None:
        course, prompts = self.course, self.course.spec.probe_prompts
        if not prompts:
            return
        course.emitter.phase(Phase.SAMPLING, 0, len(prompts))
        context = folder.context_length(course.spec.model_dir)
        said = continuations(course.engine, course.world, course.tokenizer, course.end_ids, prompts, context)
        for prompt, completion in zip(prompts, said, strict=True):
            course.emitter.say(Sample, step=course.progress.step, when=when, prompt=prompt, completion=completion)
        course.emitter.phase(Phase.SAMPLING, len(prompts), len(prompts))

    def relative(self, path: Path) -> str:
        return path.relative_to(self.course.spec.workspace).as_posix()
