"""The whole plan: what fits, what does not and why, and settings that would."""

from typing import Any

import pytest

from core.contract.choice import AT
from core.contract.job_spec import DpoHyperparameters
from planning.node import NodeFacts
from planning.plan import Plan, make, sentence
from tests.unit.planning.known import GIB, INSPECTION, MODEL, node


def planned(nodes: list[NodeFacts], ranks: int = 1, **asked: Any) -> Plan:
    return make(DpoHyperparameters.model_validate(asked), "sigmoid", INSPECTION, MODEL, nodes, ranks=ranks)


def test_every_auto_is_a_number_and_what_fits_says_so() -> None:
    plan = planned([node(16)])
    assert "auto" not in plan.hyperparameters.values()
    assert (plan.hyperparameters["batch_size"], plan.steps, plan.hyperparameters["max_steps"]) == (5, 20, 20)
    assert (plan.examples, plan.unit, plan.dropped) == (100, "pair", 0)
    assert (plan.layout, plan.recompute) == ("shared", False)
    assert (plan.tokens.fed, plan.tokens.unshared, plan.tokens.scored) == (30_000, 40_000, 15_000)
    assert (plan.memory.fits, plan.memory.reason, plan.advice) == (True, None, [])
    assert plan.memory.total == sum(plan.memory.parts.model_dump().values())
    assert plan.seconds.whole == pytest.approx(plan.seconds.total)


def test_what_does_not_fit_names_the_reason_and_each_remedy_fits() -> None:
    nodes = [node(4.5), node(4.5, slots=4)]
    plan = planned(nodes)
    assert plan.memory.fits is False
    remedies = {each.param: each.value for each in plan.advice}
    assert set(remedies) >= {f"{AT}.lora", "palate.resources.gpus"}
    assert "GiB" in sentence(plan)
    assert "micro-batch" in sentence(plan)
    assert planned(nodes, lora={}).memory.fits is True
    assert planned(nodes, ranks=remedies["palate.resources.gpus"]).memory.fits is True
    assert planned(nodes, ranks=remedies["palate.resources.gpus"] - 1).memory.fits is False


def test_a_model_that_fits_nowhere() -> None:
    plan = planned([node(0.5)])
    assert (plan.memory.fits, plan.memory.largest_row_tokens, plan.memory.micro_batch, plan.advice) == (False, 0, 0, [])
    assert plan.recompute
    assert "The model alone needs" in sentence(plan)
    assert "more memory" in sentence(plan)


def test_the_node_that_fits_is_taken_and_without_nodes_nobody_knows() -> None:
    assert planned([node(1, slots=2), node(40)]).memory.available == 40 * GIB
    nowhere = planned([])
    assert (nowhere.memory.fits, nowhere.memory.available, nowhere.memory.node) == (None, None, None)
    assert planned([node(40)], ranks=2).memory.fits is None


def test_warnings_are_those_of_the_job() -> None:
    assert [each.param for each in planned([], learning_rate=1e-2).warnings] == [f"{AT}.learning_rate"]


def test_ranks_on_a_cpu_share_the_machine_and_gpus_have_their_own() -> None:
    assert planned([node(40, device="cpu", slots=4)], ranks=2).memory.available == 20 * GIB
    assert planned([node(40, slots=4)], ranks=2).memory.available == 40 * GIB
