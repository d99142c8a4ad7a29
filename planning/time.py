"""How long a run takes: what passes through the model, at what each pass was measured to cost on the node.

Before any job was measured there, by the node's calibration (trainer.calibrate); from the first job on, by as much as
that one took longer or shorter than its own forecast. The head counts on scored tokens only.
"""

import math
from typing import Literal

from pydantic import BaseModel

from core.contract.losses import LOSSES
from core.contract.run_spec import Inspection, Lora, Settings
from planning import lora
from planning.facts import ModelFacts
from planning.node import Calibration, Cost, NodeFacts, Pass, Rate, Work
from planning.resolve import total_steps, trained_on

# Of one rank, where nothing was measured yet: stated with the forecast.
DEFAULT_FLOPS = {"cpu": {"fp32": 2.0e10, "bf16": 2.0e10}, "cuda": {"fp32": 4.0e13, "bf16": 4.0e14}}
# Interpreter, imports, rendezvous, sealing (7 to 9 s on two cores); estimated: a gigabyte of weights read or written.
START_SECONDS, SECONDS_PER_GIGABYTE = 9.0, 4.0
# What the probe scores before a run, one answer alone and in layouts (trainer.probe): so many times the tokens of four
# examples, the longest among them, in so many rows; and the examples that the export is checked with (trainer.verify).
PROBED, PROBE_TIMES, PROBE_ROWS, VERIFIED = 4, 6, 12, 16
# Of a pass through one layer, whatever its size, beside what a calibration sees: hooks of ZeRO-3, which are Python (as
# seen on a CPU; adapters have twice the modules). A GPU computes meanwhile.
LAYER_SECONDS, ADAPTED_LAYER = 1.5e-3, 2
# Every layer's forward a second time.
RECOMPUTE = 4 / 3
# Attention reaches less than a matrix product does; a gradient and a weight pass the memory several times in an update.
ATTENTION, UPDATE = 1.5, 2.5


class Times(BaseModel):
    """Seconds. `basis` says what the forecast rests on."""

    start: float
    reference: float
    training: float
    evaluation: float
    export: float
    basis: str

    @property
    def total(self) -> float:
        return self.start + self.reference + self.training + self.evaluation + self.export


def layout_of(inspection: Inspection) -> Literal["shared", "packed"]:
    """The layout that a run has where the model allows it; without figures, none."""
    return "shared" if "shared" in inspection.fed else "packed"


def tokens(inspection: Inspection) -> int:
    """Fed for all examples once."""
    found = inspection.fed.get("shared")
    return found.tokens if found else inspection.tokens


def work(facts: ModelFacts, settings: Settings, inspection: Inspection, *, ranks: int, row_tokens: int) -> Work:
    """Of one rank in a full step."""
    hidden, layers, vocab = facts.hidden_size or 1024, facts.layers or 24, facts.vocab_size or 0
    tables = sum(each.size * each.count for each in facts.matrices if lora.is_table(each, facts)) or vocab * hidden
    share = min(1.0, settings.batch_size / max(1, inspection.usable)) / ranks
    fed = tokens(inspection) * share
    return Work(
        tokens=fed,
        scored=inspection.scored_tokens * share,
        squares=inspection.squares * share * tokens(inspection) / max(1, inspection.tokens),
        rows=max(1.0, math.ceil(fed / row_tokens)),
        body=max(0, facts.parameters - tables),
        layers=layers,
        hidden=hidden,
        vocab=vocab,
        trained=(facts.parameters if settings.lora is None else lora.weights(facts, settings.lora)) / ranks,
        single=LOSSES[settings.loss].unit == "single",
        adapters=settings.lora is not None,
    )


def pass_seconds(work: Work, cost: Cost, device: str) -> float:
    """Of one pass over the examples of a step."""
    attention = ATTENTION * 2 * work.layers * work.hidden * work.squares
    body = cost.weight * (work.body * work.tokens + attention) + cost.width * work.hidden * work.layers * work.tokens
    head = (cost.logit * work.hidden + cost.choice) * work.vocab * work.scored
    computed = body + head + cost.layer * work.layers * work.rows
    hooks = LAYER_SECONDS * work.layers * work.rows
    return max(computed, hooks * (ADAPTED_LAYER if work.adapters else 1)) if device == "cuda" else computed + hooks


def expected(work: Work, settings: Settings, node: NodeFacts) -> float:
    """Seconds of a full step, by the node's calibration."""
    calibration = node.calibration or assumed(node.device)
    costs = calibration.costs[settings.precision]
    kind: Pass = "full" if settings.lora is None else "lora"
    # The answers behind other prompts, without gradients.
    stray = pass_seconds(work, costs["forward"], node.device) if work.single else 0.0
    return pass_seconds(work, costs[kind], node.device) + stray + UPDATE * calibration.update * work.trained


def assumed(device: str) -> Calibration:
    """6 N a token forward and backward (Kaplan et al. 2020), 2 N forward; LoRA needs no gradient of frozen weights."""
    kinds = (("forward", 2), ("full", 6), ("lora", 4))
    costs = {
        precision: {kind: Cost(weight=n / flops, logit=n / flops) for kind, n in kinds}
        for precision, flops in DEFAULT_FLOPS[device].items()
    }
    return Calibration.model_validate({"costs": costs, "update": 0.0})


def step_seconds(
    facts: ModelFacts, settings: Settings, inspection: Inspection, *, ranks: int, row_tokens: int, node: NodeFacts
) -> tuple[float, str]:
    """Seconds of a full step, and what that rests on."""
    mine = work(facts, settings, inspection, ranks=ranks, row_tokens=row_tokens)
    seconds = expected(mine, settings, node)
    near = nearest(node, mine, ranks, settings)
    if near is None:
        speed = DEFAULT_FLOPS[node.device][settings.precision]
        none = "no job measured on this node yet"
        return seconds, f"{none}: calibrated" if node.calibration else f"{none}: {speed:.0e} FLOP/s assumed"
    factor = near.seconds / expected(near.work, like(settings, near), node)
    return seconds * factor, f"measured in a job of {near.parameters:,} parameters: {factor:.2f} x the calibration"


def like(settings: Settings, rate: Rate) -> Settings:
    """What decides the cost of a step in the job that was measured."""
    kind = (settings.lora or Lora()) if rate.lora else None
    return settings.model_copy(update={"precision": rate.precision, "lora": kind})


def nearest(node: NodeFacts, mine: Work, ranks: int, settings: Settings) -> Rate | None:
    """The measurement whose rows were most like these, the newest of equals."""
    rates = node.rates
    alike = [rate for rate in rates if rate.precision == settings.precision and rate.ranks == ranks] or rates
    if not alike:
        return None
    wanted = expected(mine, settings, node) / mine.rows

    def distance(rate: Rate) -> float:
        spent = expected(rate.work, like(settings, rate), node) / rate.work.rows
        size = abs(math.log(max(spent, 1e-9) / max(wanted, 1e-9))) + abs(math.log(rate.work.layers / mine.layers))
        return size + 2 * (rate.lora != (settings.lora is not None))

    return min(reversed(alike), key=distance)


def probe_seconds(mine: Work, cost: Cost, inspection: Inspection, node: NodeFacts) -> float:
    """Of the probe: forward, and backward to the embeddings."""
    mean = tokens(inspection) / max(1, inspection.usable)
    largest = inspection.fed["shared"].largest if "shared" in inspection.fed else mean
    seen = scaled(mine, PROBE_TIMES * (largest + (PROBED - 1) * mean) / max(1.0, mine.tokens))
    return pass_seconds(seen.model_copy(update={"rows": PROBE_ROWS}), cost, node.device)


def check_seconds(mine: Work, cost: Cost, inspection: Inspection, node: NodeFacts) -> float:
    """Of the export's check: the engine, and the loaded model, which pads and makes logits of every token."""
    few = tokens(inspection) * min(1.0, VERIFIED / max(1, inspection.usable))
    engine = scaled(mine, few / max(1.0, mine.tokens))
    padded = inspection.fed["padded"].tokens / max(1, tokens(inspection)) if "padded" in inspection.fed else 1.0
    plain = scaled(engine, padded)
    plain = plain.model_copy(update={"scored": plain.tokens})
    return pass_seconds(engine, cost, node.device) + pass_seconds(plain, cost, node.device)


def scaled(work: Work, factor: float) -> Work:
    """So many times the tokens."""
    more = {name: getattr(work, name) * factor for name in ("tokens", "scored", "squares")}
    return work.model_copy(update=more | {"rows": max(1.0, math.ceil(work.rows * factor))})


def forecast(
    facts: ModelFacts,
    settings: Settings,
    inspection: Inspection,
    *,
    ranks: int,
    row_tokens: int,
    node: NodeFacts,
    recompute: bool = False,
    evaluations: int = 0,
    held_out: Inspection | None = None,
    split: float = 0.0,
) -> Times:
    """`evaluations`: passes over the held-out data, the one before training with them; `split`: its share of the
    training file, where it has no file of its own."""
    step, basis = step_seconds(facts, settings, inspection, ranks=ranks, row_tokens=row_tokens, node=node)
    mine = work(facts, settings, inspection, ranks=ranks, row_tokens=row_tokens)
    costs = (node.calibration or assumed(node.device)).costs[settings.precision]
    factor = step / expected(mine, settings, node)
    share = min(1.0, settings.batch_size / max(1, inspection.usable))
    a_pass = factor * pass_seconds(mine, costs["forward"], node.device) / share
    apart = a_pass * (tokens(held_out) / max(1, tokens(inspection))) if held_out else 0.0
    held = apart + a_pass * split
    steps, pairs = total_steps(settings, trained_on(inspection.usable, split)), trained_on(inspection.usable, split)
    # The reference of what the steps use, and of all that is held out; of each single answer and the one behind it.
    used = min(1.0, steps * settings.batch_size / max(1, pairs)) * (1 - split)
    gigabytes = facts.parameters * (4 if settings.precision == "fp32" else 2) / 2**30
    near = nearest(node, mine, ranks, settings)
    start = (
        START_SECONDS + SECONDS_PER_GIGABYTE * gigabytes + factor * probe_seconds(mine, costs["lora"], inspection, node)
    )
    end = 2 * SECONDS_PER_GIGABYTE * gigabytes + factor * check_seconds(mine, costs["forward"], inspection, node)
    if near is not None and near.start is not None and near.end is not None:
        more = SECONDS_PER_GIGABYTE * gigabytes * (1 - near.parameters / facts.parameters)
        start = max(0.0, near.start + more)
        end = near.end * facts.parameters / near.parameters
    return Times(
        start=start,
        reference=(a_pass * used + held) * (2 if mine.single else 1) if LOSSES[settings.loss].reference else 0.0,
        training=step * steps * (RECOMPUTE if recompute else 1),
        evaluation=held * evaluations * (2 if mine.single else 1),
        export=end,
        basis=basis,
    )
