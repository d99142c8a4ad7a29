"""One run from spec to sealed checkpoint, top to bottom."""

from pathlib import Path

from core.contract.errors import BadData, BadInput
from core.contract.exits import Exit
from core.contract.run_spec import RowProblem, RunSpec
from core.contract.states import Phase
from core.contract.trainer_events import Finished, Started, Stopped
from trainer import checkpoint, folder, model, records, seed
from trainer.course import Course, Pairs, Progress, ticker
from trainer.data import Pair, Tokenised, make_renderer
from trainer.emit import Emitter
from trainer.engine import Engine
from trainer.failures import BadRecord
from trainer.loop import train
from trainer.milestones import Milestones
from trainer.reference import reference_pass
from trainer.render import Renderer
from trainer.schedule import total_steps
from trainer.stop import StopRequested
from trainer.world import World


def run(spec: RunSpec, world: World, emitter: Emitter) -> Exit:
    milestones: Milestones | None = None
    try:
        course = assemble(spec, world, emitter)
        milestones = Milestones(course)
        if course.progress.step == 0:
            milestones.evaluate()
            milestones.sample("before")
        train(course, milestones)
        finish(course, milestones)
        return Exit.DONE
    except StopRequested as request:
        return leave(request.word, milestones, emitter)


def assemble(spec: RunSpec, world: World, emitter: Emitter) -> Course:
    """Cheap refusals first: the resume point, the weights, the data; then the model is loaded, then the reference."""
    if world.size != spec.world_size:
        raise BadInput(f"The run was planned for {spec.world_size} ranks, and {world.size} were launched.")
    seed.settle(spec.seed)
    resumed = checkpoint.check(spec, world, spec.resume_from) if spec.resume_from else None
    world.agree(model.find_damage(spec.model_dir, world.rank, world.size))
    renderer = make_renderer(folder.load_tokenizer(spec.model_dir), folder.end_tokens(spec.model_dir))
    pairs = tokenised_pairs(spec, world, emitter, renderer)
    engine = Engine(spec.model_dir, spec.settings, world)
    total = total_steps(len(pairs.train), spec.settings)
    progress = Progress()
    if spec.resume_from and resumed:
        reference, saved = checkpoint.load(spec.resume_from, resumed, world, engine)
        progress = Progress(**saved)
        if resumed.meta["bitwise"] != checkpoint.identity(spec, world)["bitwise"]:
            emitter.warn("resume_not_bitwise", "This run goes on with other software or micro-batches than before.")
    emitter.say(
        Started,
        world_size=world.size,
        total_steps=total,
        pairs=len(pairs.train),
        dropped=pairs.dropped,
        resumed_from_step=progress.step,
        details={"held_out_pairs": len(pairs.held_out), "device": world.device.type},
    )
    if not resumed:
        tick = ticker(spec, world, emitter, Phase.REFERENCE_PASS)
        reference = reference_pass(engine, world, pairs.train, pairs.held_out, spec.micro_batch_size, tick)
    return Course(spec, world, emitter, renderer.tokenizer, renderer.end_ids, pairs, engine, reference, total, progress)


def tokenised_pairs(spec: RunSpec, world: World, emitter: Emitter, renderer: Renderer) -> Pairs:
    """The usable pairs of both files, the same on every rank. Raises BadData where a run cannot be made of them."""
    limit = min(spec.settings.max_length, folder.context_length(spec.model_dir))
    held_out: list[Pair] = []
    train, problems = tokenise_together(spec, world, emitter, renderer, spec.train_data, spec.train_digest, limit)
    if not train:
        reason = f" The first reason: {problems[0].message}" if problems else ""
        raise BadData(f"No usable pair is left of the training file.{reason}", code="no_usable_pairs")
    if spec.eval_data:
        held_out, others = tokenise_together(spec, world, emitter, renderer, spec.eval_data, spec.eval_digest, limit)
        if not held_out:
            raise BadData("No usable pair is left of the validation file.", code="no_usable_pairs")
        problems += others
    return Pairs(train, held_out, len(problems))


def tokenise_together(
    spec: RunSpec, world: World, emitter: Emitter, renderer: Renderer, path: Path, digest: str | None, limit: int
) -> tuple[list[Pair], list[RowProblem]]:
    """Each rank renders every size-th record; all get all, in the file's order."""
    result = Tokenised()
    error: Exception | None = None
    emitter.phase(Phase.TOKENIZING, 0, 0)
    try:
        for number, record in enumerate(records.read(path, digest)):
            if number % world.size == world.rank:
                result.add(renderer, record, limit, spec.settings.truncation)
            emitter.phase(Phase.TOKENIZING, number + 1, 0)
    except BadData as bad:
        error = bad
    world.agree(error)
    parts = world.gather(result)
    problems = sorted((p for part in parts for p in part.problems), key=lambda p: p.line)
    if spec.settings.truncation == "error":
        for problem in problems:
            if problem.code == "too_long":
                raise BadRecord(problem.message, code=problem.code, line=problem.line)
    pairs = sorted((p for part in parts for p in part.pairs), key=lambda p: p.line)
    emitter.phase(Phase.TOKENIZING, len(pairs) + len(problems), len(pairs) + len(problems))
    return pairs, problems


def finish(course: Course, milestones: Milestones) -> None:
    milestones.evaluate()
    milestones.sample("after")
    milestones.write_checkpoint(final=True)
    progress = course.progress
    course.emitter.say(Finished, step=progress.step, metrics=progress.figures, trained_tokens=progress.tokens)


def leave(word: str, milestones: Milestones | None, emitter: Emitter) -> Exit:
    """`drain` leaves a resume point behind, unless no step was done yet; `cancel` leaves what is sealed already."""
    step = milestones.course.progress.step if milestones else 0
    if word == "drain" and milestones and step > milestones.saved_at:
        milestones.write_resume_point()
    emitter.say(Stopped, step=step, reason=word)
    return Exit.STOPPED_WITH_RESUME_POINT if word == "drain" else Exit.STOPPED
