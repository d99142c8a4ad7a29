"""What a job would be, from what is stored of its model, its files and the nodes; and whether it can run at all."""

from collections.abc import Mapping, Sequence

from core.contract import choice
from core.contract.advice import Taken
from core.contract.errors import BadInput
from core.contract.job_spec import JobSpec
from core.contract.losses import LossName
from core.contract.run_spec import Inspection
from core.contract.states import FileStatus, JobState
from core.db import admission, events, nodes, submit, verdicts
from core.db.engine import Session
from core.db.tables import File, Job, Model, Node
from planning import lora
from planning.facts import ModelFacts
from planning.facts import known as facts_known
from planning.node import NodeFacts
from planning.plan import LEAST_LENGTH, Decided, Plan, make, sentence
from planning.resolve import held_out_share, resolve_lora

NOT_YET = "The file's checks or the inspection of file and model are under way."


def plan(session: Session, project_id: str, spec: JobSpec) -> Plan | None:
    """None while the files or their inspection are not ready; a task for it is then on its way.

    Raises BadInput for what a job with this body would be refused or fail for.
    """
    model = submit.known_model(session, project_id, spec.model)
    files = submit.named_files(session, project_id, spec)
    return planned(session, spec, model, files, nodes.known(session))


def planned(
    session: Session, spec: JobSpec, model: Model, files: Mapping[str, File], known: Sequence[Node]
) -> Plan | None:
    """`files` by param, `known` nodes."""
    facts = suited(model, spec)
    if facts is None:
        raise BadInput(
            f"Nothing is known of the weights of {spec.model!r}; add the model again.",
            code="model_facts_unknown",
            param="model",
        )
    if any(file.status != FileStatus.PROCESSED for file in files.values()):
        return None
    settled = verdicts.settle(session, spec, files)
    asked, loss = settled.taken.asked, settled.loss
    found = admission.inspect_all(session, files, model, asked, loss)
    ready: dict[str, Inspection] = {}
    for param, inspection in found.items():
        if inspection is None:
            return None
        refused = admission.unusable(param, inspection, files[param].options, spec.palate.accept)
        if refused is not None:
            raise refused
        ready[param] = inspection
    held_out = ready.get("validation_file")
    return forecast(spec, settled.taken, loss, facts, known, ready["training_file"], held_out)


def forecast(
    spec: JobSpec,
    taken: Taken,
    loss: LossName,
    facts: ModelFacts,
    known: Sequence[Node],
    training: Inspection,
    held_out: Inspection | None,
) -> Plan:
    gpus, every = spec.palate.resources.gpus, spec.palate.eval.every_steps
    return make(
        taken.asked,
        loss,
        training,
        facts,
        [facts_of(node) for node in known],
        ranks=1 if gpus == "auto" else gpus,
        eval_steps=None if every == "auto" else every,
        held_out=held_out,
        split=held_out_share(spec, training.usable),
        recommended=Decided(settings=taken.settings, why=taken.why) if taken.settings else None,
    )


def check(session: Session, spec: JobSpec, job: Job, model: Model, files: Mapping[str, File]) -> None:
    """Of a job that was just made. Raises BadInput for layers that its model does not have, and, where the nodes and
    the inspection are known, for what fits on none of them."""
    facts, known = suited(model, spec), nodes.known(session)
    if facts is None or job.state == JobState.FAILED:
        return
    asked = spec.dpo().lora
    told = lora.caution(facts, resolve_lora(asked)) if asked else None
    if told:
        events.append(session, job.id, events.NewEvent(told, level="warn", data={"param": lora.PARAM}))
    if not known:
        return
    found = planned(session, spec, model, files, known) or least(spec, facts, known)
    if found.memory.fits is False:
        param = found.advice[0].param if found.advice else "model"
        raise BadInput(sentence(found), code="does_not_fit", param=param)


def least(spec: JobSpec, facts: ModelFacts, known: Sequence[Node]) -> Plan:
    """Of one short pair: what does not fit with that fits with no data."""
    one = Inspection(records=1, usable=1, max_length=LEAST_LENGTH, context_length=facts.context_length)
    asked = spec.dpo()
    return forecast(spec, Taken(asked, {}, []), choice.loss_of(asked, "pair"), facts, known, one, None)


def suited(model: Model, spec: JobSpec) -> ModelFacts | None:
    """What is known of the model; BadInput where it is none to train, or lacks the layers that LoRA shall adapt."""
    if model.job_id is not None and not any(each["path"] == "config.json" for each in model.manifest.get("files", [])):
        raise BadInput(
            f"{spec.model!r} is an adapter without its base; train from the base model, or export `model`.",
            code="model_is_adapter",
            param="model",
        )
    facts, wanted = facts_known(model.facts), spec.dpo().lora
    if facts is not None and lora.reachable(facts) and wanted is not None and wanted.target_modules != "auto":
        lora.check(facts, wanted.target_modules)
    return facts


def facts_of(node: Node) -> NodeFacts:
    return NodeFacts.model_validate({**node.facts, "name": node.name, "slots": node.slots})
