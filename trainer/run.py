"""One run from spec to sealed checkpoint, top to bottom."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from core.contract.errors import BadData, BadInput
from core.contract.exits import Exit
from core.contract.losses import LOSSES
from core.contract.preference import AnyRecord
from core.contract.run_spec import RunSpec
from core.contract.states import Phase
from core.contract.trainer_events import Finished, Started, Stopped
from trainer import batches, checkpoint, compiles, folder, gate, model, records, seed
from trainer.collection import Collection
from trainer.course import Course, Data, Progress, rendering, ticker
from trainer.data import Example, Tokenised, make_renderer, together, tokenise
from trainer.emit import Emitter
from trainer.engine import Engine
from trainer.failures import BadRecord
from trainer.loop import train
from trainer.milestones import Milestones
from trainer.packed import pack, unpack
from trainer.probe import probe
from trainer.reference import ReferencePass, without_reference
from trainer.render import Renderer
from trainer.sample import openings
from trainer.schedule import total_steps
from trainer.scoring import score_examples
from trainer.split import apart
from trainer.stop import StopRequested
from trainer.verify_alone import verify_alone
from trainer.world import World


def run(spec: RunSpec, world: World, emitter: Emitter) -> Exit:
    if spec.unverified:
        return verify_alone(spec, world, emitter)
    milestones: Milestones | None = None
    try:
        course = assemble(spec, world, emitter)
        milestones = Milestones(course)
        if course.progress.step == 0:
            milestones.evaluate()
            milestones.sample("before")
        else:
            milestones.after_step(resume_point=False, last=course.progress.step == course.total)
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
    compiles.require(world)
    resumed = checkpoint.check(spec, world, spec.resume_from) if spec.resume_from else None
    world.agree(model.find_damage(spec.model_dir, world.rank, world.size))
    tokenizer = folder.load_tokenizer(spec.model_dir)
    renderer = make_renderer(tokenizer, folder.end_tokens(spec.model_dir), spec.clock)
    prompts = openings(renderer, spec.probe_prompts, records.first(spec.train_data))
    data = tokenised_data(spec, world, emitter, renderer)
    if resumed and not checkpoint.serves(resumed, data.digest, emitter):
        resumed = None
    engine = Engine(spec.model_dir, spec.settings, world, spec.seed, spec.recompute)
    probed = probe(engine, world, spec, data.train.examples, renderer.closing | renderer.added)
    total = total_steps(len(data.train), spec.settings)
    progress = Progress()
    parts = {name: each.examples for name, each in data.all().items()}
    reference = without_reference(parts)
    if spec.resume_from and resumed:
        reference, saved = checkpoint.load(spec, world, engine, probed.layout, resumed, emitter)
        progress = Progress(**saved)
    used = batches.used(spec.seed, total, spec.train_digest, len(data.train), spec.settings.batch_size)
    search = None
    if LOSSES[spec.settings.loss].reference and not resumed:
        needed = {"train": used, "mismatched": used if len(data.mismatched) else []}
        search = ReferencePass(spec, world, emitter, parts, needed)
    emitter.say(
        Started,
        world_size=world.size,
        total_steps=total,
        pairs=len(data.train),
        dropped=data.dropped,
        resumed_from_step=progress.step,
        layout=probed.layout,
        details={
            "held_out_pairs": len(data.held_out),
            "held_out_share": 0.0 if spec.eval_data else spec.held_out_share,
            "device": world.device.type,
            "recompute": bool(engine.model.is_activation_checkpointing),
            "layout_errors": probed.errors,
            "layout_reason": probed.reason,
            "noise": asdict(probed.noise),
            "reference_cached": search.cached if search else 0,
            "reference_forwards": search.missing if search else 0,
            "used_examples": len(used),
            **rendering(renderer, data),
        },
    )
    if probed.reason:
        message = (
            "This model is trained in another way than the fastest one, which is not exact for it; the run's figures"
        )
        emitter.warn("slower_way", f"{message} are right, its time and memory may be more. {probed.reason}")
    if probed.layout == "padded" and seed.is_lax():
        message = "This model has an operation of which torch has no deterministic kernel for this GPU: a run that is"
        emitter.warn("not_deterministic", f"{message} resumed may differ in its last bits from one that was not.")
    course = Course(
        spec,
        world,
        emitter,
        renderer,
        prompts,
        data,
        used,
        engine,
        probed.layout,
        probed.noise,
        reference,
        total,
        progress,
    )
    if search:
        take_reference(course, search)
    return course


def take_reference(course: Course, search: ReferencePass) -> None:
    """From the cache, from a pass, or both; what another run has left serves only when the gate agrees."""
    spec, world = course.spec, course.world
    tick = ticker(spec, world, course.emitter, Phase.REFERENCE_PASS)

    def score(examples: Sequence[Example]) -> Tensor:
        return score_examples(course.engine, world, examples, course.layout, spec.row_tokens, tick, reference=True)

    course.reference = search.complete(score)
    if search.cached and not gate.cache_serves(course):
        course.reference = search.again(score)


def tokenised_data(spec: RunSpec, world: World, emitter: Emitter, renderer: Renderer) -> Data:
    """The usable examples of both files, the same on every rank. Raises BadData where a run cannot be made of them."""
    train = tokenise_together(spec, world, emitter, renderer, spec.train_data, spec.train_digest)
    if not train.examples:
        reason = f" The first reason: {train.problems[0].message}" if train.problems else ""
        raise BadData(f"No usable pair is left of the training file.{reason}", code="no_usable_pairs")
    kwargs = train.kwargs
    held_out = Tokenised()
    if spec.held_out_share and not spec.eval_data:
        train, held_out = apart(train, spec.seed, spec.held_out_share)
        if not held_out.examples:
            message = "All examples share one prompt, or nearly all: none is held out, so no held-out figures appear."
            emitter.warn("nothing_held_out", message)
    if spec.eval_data:
        held_out = tokenise_together(spec, world, emitter, renderer, spec.eval_data, spec.eval_digest)
        if not held_out.examples:
            raise BadData("No usable pair is left of the validation file.", code="no_usable_pairs")
    return Data(
        Collection(train.examples),
        Collection(held_out.examples),
        Collection(train.mismatched),
        Collection(held_out.mismatched),
        dropped=len(train.problems) + len(held_out.problems),
        kwargs=frozenset(kwargs | held_out.kwargs),
    )


def tokenise_together(
    spec: RunSpec, world: World, emitter: Emitter, renderer: Renderer, path: Path, digest: str | None
) -> Tokenised:
    """Each rank renders every size-th record; all get all, in the file's order."""
    settings = spec.settings
    limit = min(settings.max_length, folder.context_length(spec.model_dir))
    boundary = folder.rope_boundary(folder.load_config(spec.model_dir))
    mine = Tokenised()
    error: Exception | None = None
    emitter.phase(Phase.TOKENIZING, 0, 0)

    def told(number: int) -> None:
        emitter.phase(Phase.TOKENIZING, number, 0)

    try:
        found = counted(records.read(path, digest), told)
        share = (world.rank, world.size)
        terms = (limit, settings.truncation, settings.loss, spec.seed, share, boundary, settings.ties)
        mine = tokenise(renderer, found, *terms, settings.annotators)
    except BadInput as bad:  # of the data, or that the model has no chat template for it
        error = bad
    world.agree(error)
    whole = together([unpack(told) for told in world.gather_bytes(pack(mine))])
    if settings.truncation == "error":
        for problem in whole.problems:
            if problem.code == "too_long":
                raise BadRecord(problem.message, code=problem.code, line=problem.line)
    count = len(whole.examples) + len(whole.problems)
    emitter.phase(Phase.TOKENIZING, count, count)
    return whole


def counted(found: Iterable[AnyRecord], told: Callable[[int], None]) -> Iterator[AnyRecord]:
    for number, record in enumerate(found, start=1):
        yield record
        told(number)


def finish(course: Course, milestones: Milestones) -> None:
    """An adapter's resume point first: it is small. One of full weights is three times the model that follows in
    seconds, and would be dropped at once."""
    if course.spec.settings.lora and course.progress.step > milestones.points.step:
        milestones.write_resume_point()
    milestones.evaluate()
    milestones.sample("after")
    milestones.write_model()
    progress = course.progress
    figures = {**progress.figures, "stalled_seconds": milestones.stalled}
    course.emitter.say(Finished, step=progress.step, metrics=figures, trained_tokens=progress.tokens)


def leave(word: str, milestones: Milestones | None, emitter: Emitter) -> Exit:
    """`drain` leaves a resume point behind, unless no step was done yet or the finished model is sealed; `cancel` what
    is sealed already."""
    step = milestones.course.progress.step if milestones else 0
    if word == "drain" and milestones and step > milestones.points.step and not milestones.sealed:
        milestones.write_resume_point()
    if milestones:
        milestones.background.drain() if word == "drain" else milestones.background.abandon()
    emitter.say(Stopped, step=step, reason=word)
    return Exit.STOPPED_WITH_RESUME_POINT if word == "drain" else Exit.STOPPED
