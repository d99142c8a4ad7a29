"""Forecasts of time: arithmetic over what the node was seen to do."""

import pytest

from core.contract.run_spec import Lora, Settings
from planning.node import NodeFacts, Rate
from planning.time import LAYER_SECONDS, epoch_flops, forecast, nearest, step_flops, step_rows, step_seconds
from tests.unit.planning.known import INSPECTION, MODEL

SETTINGS = Settings(batch_size=10)
TABLE = 32_768 * 1024


def rate(**more: object) -> Rate:
    known = {"parameters": MODEL.parameters, "layers": 4, "precision": "fp32", "rows": 1, "flops": 1e9, "seconds": 1.0}
    return Rate.model_validate(known | more)


def test_operations_are_counted_once_for_what_is_fed_and_the_head_for_what_is_scored() -> None:
    body = MODEL.parameters - 2 * TABLE
    attention = 4 * 4 * 1024 * 8_000_000 * 30_000 / 40_200
    forward = 2 * body * 30_000 + attention + 2 * TABLE * 15_000
    assert epoch_flops(MODEL, SETTINGS, INSPECTION) == pytest.approx(3 * forward)
    lora = SETTINGS.model_copy(update={"lora": Lora()})
    assert epoch_flops(MODEL, lora, INSPECTION) == pytest.approx(2 * forward)
    kto = SETTINGS.model_copy(update={"loss": "kto"})
    assert epoch_flops(MODEL, kto, INSPECTION) == pytest.approx(4 * forward)
    assert step_flops(MODEL, SETTINGS, INSPECTION, ranks=2) == pytest.approx(3 * forward / 20)


def test_rows_follow_from_the_budget() -> None:
    assert [step_rows(SETTINGS, INSPECTION, ranks=1, row_tokens=n) for n in (8_192, 1_000, 100)] == [1, 3, 30]


def test_a_run_like_a_measured_one_takes_as_long() -> None:
    flops = step_flops(MODEL, SETTINGS, INSPECTION, ranks=1)
    node = NodeFacts(rates=[rate(flops=flops, seconds=2.5)])
    seconds, basis = step_seconds(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=node)
    assert seconds == pytest.approx(2.5)
    assert "measured" in basis
    times = forecast(
        MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=node, evaluations=2, held_out=INSPECTION
    )
    assert times.training == pytest.approx(25)
    again = forecast(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=node, recompute=True)
    assert again.training == pytest.approx(25 * 4 / 3)
    assert times.reference == pytest.approx(2 * 25 / 3)
    assert times.evaluation == pytest.approx(2 * 25 / 3)
    assert times.total == pytest.approx(times.start + times.reference + 25 + times.evaluation + times.export)


def test_without_a_measurement_it_says_so() -> None:
    seconds, basis = step_seconds(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=NodeFacts())
    assert "assumed" in basis
    assert seconds > LAYER_SECONDS["cpu"] * 4


def test_no_reference_no_reference_pass() -> None:
    orpo = SETTINGS.model_copy(update={"loss": "orpo"})
    assert forecast(MODEL, orpo, INSPECTION, ranks=1, row_tokens=8_192, node=NodeFacts()).reference == 0


def test_the_nearest_measurement_is_of_the_same_precision_and_the_newest_of_equals() -> None:
    rates = [rate(seconds=1), rate(seconds=2), rate(flops=1e15, seconds=3), rate(precision="bf16", seconds=4)]
    found = nearest(rates, 1e9, 4, 1, SETTINGS)
    assert found is not None
    assert found.seconds == 2
    half = nearest(rates, 1e9, 4, 1, SETTINGS.model_copy(update={"precision": "bf16"}))
    assert half is not None
    assert half.seconds == 4
    assert nearest([], 1e9, 4, 1, SETTINGS) is None
