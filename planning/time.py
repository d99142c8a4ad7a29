"""How long a run takes: floating-point operations over what the node was seen to do, and a cost for each forward.

6 N a token and 12 layers x hidden x length for attention, forward and backward (Kaplan et al. 2020; Chowdhery et al.
2022); a pass without gradients is a third of it. The head counts on scored tokens only.
"""

import math
from typing import Literal

from pydantic import BaseModel

from core.contract.losses import LOSSES
from core.contract.run_spec import Inspection, Settings
from planning import lora
from planning.facts import ModelFacts
from planning.node import NodeFacts, Rate
from planning.resolve import total_steps, trained_on

# Of one rank, where nothing was measured yet: stated with the forecast.
DEFAULT_FLOPS = {"cpu": 2.0e10, "cuda": 2.0e14}
# Interpreter, imports, rendezvous, sealing (7 to 9 s on two cores); estimated: a gigabyte of weights read or written.
START_SECONDS, SECONDS_PER_GIGABYTE = 9.0, 4.0
# Of a forward and backward through one layer, whatever its size: hooks of ZeRO-3, Python, launches. Estimated.
LAYER_SECONDS = {"cpu": 1.5e-3, "cuda": 4e-4}
FORWARD_SHARE = 1 / 3
# Every layer's forward a second time.
RECOMPUTE = 4 / 3


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


def epoch_flops(facts: ModelFacts, settings: Settings, inspection: Inspection) -> float:
    """Of forward and backward over all examples once; LoRA needs no gradient of the frozen weights."""
    hidden, layers = facts.hidden_size or 1024, facts.layers or 24
    table = (facts.vocab_size or 0) * hidden
    tables = sum(each.size * each.count for each in facts.matrices if lora.is_table(each, facts)) or table
    body = max(0, facts.parameters - tables)
    fed = tokens(inspection)
    attention = 4 * layers * hidden * inspection.squares * fed / max(1, inspection.tokens)
    forward = 2 * body * fed + attention + 2 * table * inspection.scored_tokens
    trained = 3.0 if settings.lora is None else 2.0
    total = trained * forward
    # The answers behind other prompts, without gradients.
    return total + (forward if LOSSES[settings.loss].unit == "single" else 0.0)


def step_flops(facts: ModelFacts, settings: Settings, inspection: Inspection, *, ranks: int) -> float:
    """Of one rank in a full step."""
    share = min(1.0, settings.batch_size / max(1, inspection.usable))
    return epoch_flops(facts, settings, inspection) * share / ranks


def step_rows(settings: Settings, inspection: Inspection, *, ranks: int, row_tokens: int) -> float:
    """Forwards of one rank in a full step."""
    fed = tokens(inspection) / max(1, inspection.usable) * settings.batch_size / ranks
    return max(1.0, math.ceil(fed / row_tokens))


def step_seconds(
    facts: ModelFacts, settings: Settings, inspection: Inspection, *, ranks: int, row_tokens: int, node: NodeFacts
) -> tuple[float, str]:
    """Seconds of a full step, and what that rests on."""
    flops = step_flops(facts, settings, inspection, ranks=ranks)
    rows = step_rows(settings, inspection, ranks=ranks, row_tokens=row_tokens)
    layers = facts.layers or 24
    near = nearest(node.rates, flops / rows, layers, ranks, settings)
    overhead = LAYER_SECONDS[node.device] * layers * rows
    if near is None:
        speed = DEFAULT_FLOPS[node.device]
        return overhead + flops / speed, f"no job measured on this node yet: {speed:.0e} FLOP/s assumed"
    spent = LAYER_SECONDS[node.device] * near.layers * near.rows
    speed = near.flops / max(near.seconds - spent, 0.1 * near.seconds)
    return overhead + flops / speed, f"measured in a job of {near.parameters:,} parameters: {speed:.1e} FLOP/s"


def nearest(rates: list[Rate], flops_a_row: float, layers: int, ranks: int, settings: Settings) -> Rate | None:
    """The measurement whose rows were most like these, the newest of equals."""
    alike = [rate for rate in rates if rate.precision == settings.precision and rate.ranks == ranks] or rates
    if not alike:
        return None

    def distance(rate: Rate) -> float:
        work = abs(math.log(max(rate.flops / max(rate.rows, 1.0), 1.0) / max(flops_a_row, 1.0)))
        return work + abs(math.log(rate.layers / layers)) + (rate.lora != (settings.lora is not None))

    return min(reversed(alike), key=distance)


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
    a_pass = step * FORWARD_SHARE * inspection.usable / settings.batch_size
    apart = a_pass * (tokens(held_out) / max(1, tokens(inspection))) if held_out else 0.0
    held = apart + a_pass * split
    gigabytes = facts.parameters * (4 if settings.precision == "fp32" else 2) / 2**30
    return Times(
        start=START_SECONDS + SECONDS_PER_GIGABYTE * gigabytes,
        reference=a_pass + apart if LOSSES[settings.loss].reference else 0.0,
        training=step * total_steps(settings, trained_on(inspection.usable, split)) * (RECOMPUTE if recompute else 1),
        evaluation=held * evaluations,
        export=SECONDS_PER_GIGABYTE * gigabytes,
        basis=basis,
    )
