"""A run before it runs: every setting as a number, steps, tokens, memory and time, and whether it fits anywhere."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from core.contract.bands import warnings
from core.contract.choice import AT
from core.contract.job_spec import DpoHyperparameters
from core.contract.losses import LOSSES, LossName
from core.contract.run_spec import Inspection, Lora, Settings
from planning import lora
from planning.facts import ModelFacts
from planning.memory import USABLE, Memory, largest_example, memory, recomputes, room, row_budget
from planning.node import NodeFacts
from planning.resolve import Device, resolve, total_steps, trained_on
from planning.time import Times, forecast, layout_of, tokens

LEAST_LENGTH = 64
GIB = 2**30


class Advice(BaseModel):
    """A change of one setting that would make the run fit."""

    param: str
    value: Any
    message: str


class Tokens(BaseModel):
    """Of one epoch: fed to the model after sharing prompts, what that is without sharing, seen by the loss."""

    fed: int
    unshared: int
    scored: int


class Fit(BaseModel):
    """Bytes of one rank on the node that suits best. fits null: no node is known that could tell.

    largest_row_tokens: the longest row that has room; micro_batch: how many of the largest example that is.
    """

    fits: bool | None
    reason: str | None
    node: str | None
    device: str | None
    available: int | None
    total: int
    parts: Memory
    largest_row_tokens: int | None
    micro_batch: int | None


class Caution(BaseModel):
    param: str
    message: str


class Decided(BaseModel):
    """Settings that were `auto` and that the data report decided, and why."""

    settings: dict[str, Any]
    why: list[str]


class Seconds(Times):
    """`whole` is the sum of the parts."""

    whole: float


class Plan(BaseModel):
    object: Literal["fine_tuning.plan"] = "fine_tuning.plan"
    hyperparameters: dict[str, Any]
    examples: int = Field(description="that are trained on")
    held_out: int = Field(description="of the validation file, or of the training file where palate.eval.split says so")
    unit: Literal["pair", "list", "single"]
    dropped: int
    left_out: dict[str, int] = Field(description="why so many records are dropped")
    steps: int
    ranks: int
    row_tokens: int
    recompute: bool
    layout: Literal["shared", "packed"] = Field(description="what tokens and time assume; a run's probe decides")
    tokens: Tokens
    memory: Fit
    seconds: Seconds
    warnings: list[Caution]
    advice: list[Advice]
    recommended: Decided | None = None


def make(
    asked: DpoHyperparameters,
    loss: LossName,
    inspection: Inspection,
    facts: ModelFacts,
    nodes: Sequence[NodeFacts],
    *,
    ranks: int = 1,
    eval_steps: int | None = None,
    held_out: Inspection | None = None,
    split: float = 0.0,
    recommended: Decided | None = None,
) -> Plan:
    """`nodes` are those that work; eval_steps None: the held-out data is scored after each epoch; `split`: the share of
    the training file that is held out (planning.resolve). `recommended` is in `asked` already."""
    pairs = trained_on(inspection.usable, split)
    able = [node for node in nodes if node.slots >= ranks and node.device == "cuda"]
    on: Device = "cuda" if able else "cpu"
    settings = resolve(asked, pairs=pairs, max_length=inspection.max_length, loss=loss, device=on)
    fit, node = best(settings, inspection, facts, nodes, ranks)
    steps = total_steps(settings, pairs)
    row_tokens = row_budget(settings, inspection, ranks=ranks, facts=facts, node=node)
    recompute = recomputes(settings, inspection, ranks=ranks, facts=facts, node=node)
    evaluations = 1 + (steps // eval_steps if eval_steps else settings.n_epochs)
    times = forecast(
        facts,
        settings,
        inspection,
        ranks=ranks,
        row_tokens=row_tokens,
        node=node,
        recompute=recompute,
        evaluations=evaluations,
        held_out=held_out,
        split=split,
    )
    multiplier = asked.learning_rate_multiplier
    return Plan(
        hyperparameters=settings.model_dump()
        | {"max_steps": steps, "learning_rate_multiplier": 1.0 if multiplier == "auto" else multiplier},
        examples=pairs,
        held_out=held_out.usable if held_out else inspection.usable - pairs,
        unit=LOSSES[loss].unit,
        dropped=inspection.dropped,
        left_out=inspection.problem_counts,
        steps=steps,
        ranks=ranks,
        row_tokens=row_tokens,
        recompute=recompute,
        layout=layout_of(inspection),
        tokens=Tokens(
            fed=tokens(inspection),
            unshared=inspection.fed["packed"].tokens if inspection.fed else inspection.tokens,
            scored=inspection.scored_tokens,
        ),
        memory=fit,
        seconds=Seconds(**times.model_dump(), whole=times.total),
        warnings=[
            *(Caution(param=param, message=message) for param, message in warnings(asked, loss)),
            *left_alone(facts, settings),
        ],
        advice=advice(settings, inspection, facts, nodes, ranks) if fit.fits is False else [],
        recommended=recommended,
    )


def left_alone(facts: ModelFacts, settings: Settings) -> list[Caution]:
    told = lora.caution(facts, settings.lora) if settings.lora else None
    return [Caution(param=lora.PARAM, message=told)] if told else []


def best(
    settings: Settings, inspection: Inspection, facts: ModelFacts, nodes: Sequence[NodeFacts], ranks: int
) -> tuple[Fit, NodeFacts]:
    """The first node with enough slots on which the run fits, else the one that comes nearest."""
    able = [node for node in nodes if node.slots >= ranks and node.memory_bytes is not None]
    tried = [(fit_on(node, settings, inspection, facts, ranks), node) for node in able]
    if not tried:
        nowhere = NodeFacts()
        return fit_on(nowhere, settings, inspection, facts, ranks), nowhere
    return max(tried, key=lambda each: (each[0].fits is True, (each[0].available or 0) - each[0].total))


def fit_on(node: NodeFacts, settings: Settings, inspection: Inspection, facts: ModelFacts, ranks: int) -> Fit:
    budget = row_budget(settings, inspection, ranks=ranks, facts=facts, node=node)
    largest = largest_example(inspection)
    share = -(-tokens(inspection) * settings.batch_size // max(1, inspection.usable * ranks))
    # As even as as few rows as possible can be (trainer.rows).
    rows = max(1, -(-share // budget))
    row = max(largest, -(-share // rows))
    scored = row * inspection.scored_tokens // max(1, tokens(inspection))
    on: dict[str, Any] = {"ranks": ranks, "device": node.device}
    on["recompute"] = recomputes(settings, inspection, ranks=ranks, facts=facts, node=node)
    needed = memory(facts, settings, row_tokens=row, scored=scored, **on)
    known = node.room(ranks)
    most = None if known is None else room(facts, settings, memory_bytes=known, **on)
    fits = None if known is None else needed.total <= USABLE * known
    reason = None
    if fits is False and known is not None and most is not None:
        held = needed.total - needed.activations
        reason = (
            f"The model alone needs {held / GIB:.1f} GiB a rank"
            if most == 0
            else f"A row of {row} tokens needs {needed.total / GIB:.1f} GiB a rank, at most {most} tokens have room"
        ) + f", and {node.name or 'the node'} has {known / GIB:.1f} GiB."
    if known is None:
        reason = f"No node with {ranks} slots is known."
    return Fit(
        fits=fits,
        reason=reason,
        node=node.name or None,
        device=node.device if known is not None else None,
        available=known,
        total=needed.total,
        parts=needed,
        largest_row_tokens=most,
        micro_batch=None if most is None else most // max(1, largest),
    )


def advice(
    settings: Settings, inspection: Inspection, facts: ModelFacts, nodes: Sequence[NodeFacts], ranks: int
) -> list[Advice]:
    """Each of them alone makes the run fit."""

    def fits(changed: Settings, on: int = ranks, seen: Inspection = inspection) -> bool:
        return best(changed, seen, facts, nodes, on)[0].fits is True

    found: list[Advice] = []
    length = inspection.max_length // 2
    while length >= LEAST_LENGTH and not fits(settings, seen=shortened(inspection, length)):
        length //= 2
    if length >= LEAST_LENGTH:
        found.append(Advice(param=f"{AT}.max_length", value=length, message=f"max_length {length}"))
    if settings.lora is None and fits(settings.model_copy(update={"lora": Lora()})):
        found.append(Advice(param=f"{AT}.lora", value={}, message="LoRA instead of all weights"))
    if settings.precision == "fp32" and fits(settings.model_copy(update={"precision": "bf16"})):
        found.append(Advice(param=f"{AT}.precision", value="bf16", message="precision bf16"))
    most = max((node.slots for node in nodes), default=0)
    more = next((n for n in range(ranks + 1, most + 1) if fits(settings, on=n)), None)
    if more is not None:
        found.append(Advice(param="palate.resources.gpus", value=more, message=f"{more} GPUs"))
    return found


def shortened(inspection: Inspection, length: int) -> Inspection:
    """As if no answer were longer: nothing is known of how many examples stay."""
    scale = length / inspection.max_length
    fed = {
        name: each.model_copy(update={"largest": min(each.largest, int(2 * length))})
        for name, each in inspection.fed.items()
    }
    return inspection.model_copy(update={"max_length": length, "fed": fed, "tokens": int(inspection.tokens * scale)})


def sentence(plan: Plan) -> str:
    """Why it does not fit, and what would."""
    would = ", or ".join(each.message for each in plan.advice) or "a node with more memory"
    room_left = f" The largest micro-batch is {plan.memory.micro_batch} of the largest example."
    return f"{plan.memory.reason}{room_left} It would fit with {would}."
