"""Forecasts of time: arithmetic over what passes were measured to cost on the node, and how long its jobs took."""

import pytest

from core.contract.run_spec import Fed, Lora, Settings
from planning.node import Cost, NodeFacts, Rate, Work
from planning.time import (
    LAYER_SECONDS,
    SECONDS_PER_GIGABYTE,
    START_SECONDS,
    UPDATE,
    expected,
    forecast,
    nearest,
    pass_seconds,
    step_seconds,
    work,
)
from tests.unit.planning.known import CALIBRATION, INSPECTION, MODEL

SETTINGS = Settings(batch_size=10)
LORA = SETTINGS.model_copy(update={"lora": Lora()})
TABLE = 32_768 * 1024
BODY = MODEL.parameters - 2 * TABLE
COSTS = CALIBRATION.costs["fp32"]
NODE = NodeFacts(calibration=CALIBRATION)
STEP = work(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192)


def seconds(settings: Settings = SETTINGS, node: NodeFacts = NODE) -> float:
    return step_seconds(MODEL, settings, INSPECTION, ranks=1, row_tokens=8_192, node=node)[0]


def rate(**more: object) -> Rate:
    known = {"parameters": MODEL.parameters, "precision": "fp32", "work": STEP, "seconds": 1.0}
    return Rate.model_validate(known | more)


def test_the_work_of_a_step_is_a_share_of_the_data_and_of_the_ranks() -> None:
    """A tenth of the examples: a shared prompt is fed once, and the head sees scored tokens only."""
    assert (STEP.tokens, STEP.scored, STEP.body, STEP.vocab) == (3_000, 1_500, BODY, 32_768)
    assert STEP.squares == pytest.approx(8_000_000 * 0.1 * 30_000 / 40_200)
    assert (STEP.trained, STEP.rows) == (MODEL.parameters, 1)
    two = work(MODEL, SETTINGS, INSPECTION, ranks=2, row_tokens=8_192)
    assert (two.tokens, two.trained) == (1_500, MODEL.parameters / 2)
    adapters = work(MODEL, LORA, INSPECTION, ranks=1, row_tokens=8_192)
    assert adapters.trained == 16 * 2 * 1024 * 8
    rows = [work(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=n).rows for n in (8_192, 1_000, 100)]
    assert rows == [1, 3, 30]


def test_a_pass_is_the_sum_of_what_each_part_was_measured_to_cost() -> None:
    plain = Work(tokens=10, scored=4, squares=0, rows=2, body=1e6, layers=3, hidden=100, vocab=50, trained=0)
    cost = Cost(weight=1e-9, width=1e-6, layer=1e-3, logit=1e-5, choice=1e-4)
    by_hand = 1e6 * 10 * 1e-9 + 100 * 3 * 10 * 1e-6 + (100 * 1e-5 + 1e-4) * 50 * 4 + 2 * 3 * (1e-3 + LAYER_SECONDS)
    assert pass_seconds(plain, cost, "cpu") == pytest.approx(by_hand)
    longer = plain.model_copy(update={"squares": 1e6})
    assert pass_seconds(longer, cost, "cpu") > by_hand, "attention"


def test_a_gpu_computes_while_the_hooks_of_its_next_layers_run() -> None:
    """Long rows cost what is computed, short ones what Python does, twice of it with adapters."""
    cost = Cost(weight=1e-12, logit=1e-12)
    long = Work(tokens=1e5, scored=0, squares=0, rows=10, body=1e7, layers=4, hidden=8, vocab=8, trained=0)
    assert pass_seconds(long, cost, "cuda") == pytest.approx(1e5 * 1e7 * 1e-12)
    short = long.model_copy(update={"tokens": 10})
    assert pass_seconds(short, cost, "cuda") == pytest.approx(10 * 4 * LAYER_SECONDS)
    adapted = short.model_copy(update={"adapters": True})
    assert pass_seconds(adapted, cost, "cuda") == pytest.approx(2 * 10 * 4 * LAYER_SECONDS)


def test_a_gpu_is_taken_to_be_ten_times_as_fast_in_bf16() -> None:
    gpu = NodeFacts(device="cuda")
    large = MODEL.model_copy(update={"parameters": 8 * 10**9})

    def seconds_in(precision: str) -> float:
        settings = SETTINGS.model_copy(update={"precision": precision})
        return step_seconds(large, settings, INSPECTION, ranks=1, row_tokens=8_192, node=gpu)[0]

    assert seconds_in("fp32") == pytest.approx(10 * seconds_in("bf16"))


def test_before_any_job_the_calibration_of_the_precision_and_the_kind_of_training_counts() -> None:
    assert seconds() == pytest.approx(pass_seconds(STEP, COSTS["full"], "cpu") + UPDATE * 1e-9 * MODEL.parameters)
    assert seconds(LORA) < seconds()
    assert seconds(SETTINGS.model_copy(update={"precision": "bf16"})) < seconds()
    kto = SETTINGS.model_copy(update={"loss": "kto"})
    assert seconds(kto) == pytest.approx(seconds() + pass_seconds(STEP, COSTS["forward"], "cpu"))
    basis = step_seconds(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=NODE)[1]
    assert basis == "no job measured on this node yet: calibrated"


def test_a_run_like_a_measured_one_takes_as_long_in_all_its_parts() -> None:
    node = NODE.model_copy(update={"rates": [rate(seconds=2.5, start=11.0, end=6.0)]})
    found, basis = step_seconds(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=node)
    assert found == pytest.approx(2.5)
    assert "measured" in basis
    on = {"ranks": 1, "row_tokens": 8_192, "node": node}
    times = forecast(MODEL, SETTINGS, INSPECTION, **on, evaluations=2, held_out=INSPECTION)
    assert (times.start, times.training, times.export) == pytest.approx((11.0, 25.0, 6.0))
    a_pass = 10 * pass_seconds(STEP, COSTS["forward"], "cpu") * 2.5 / expected(STEP, SETTINGS, NODE)
    assert (times.reference, times.evaluation) == pytest.approx((2 * a_pass, 2 * a_pass))
    assert times.total == pytest.approx(times.start + times.reference + 25 + times.evaluation + times.export)
    assert forecast(MODEL, SETTINGS, INSPECTION, **on, recompute=True).training == pytest.approx(25 * 4 / 3)


def test_a_job_of_another_kind_says_how_far_the_calibration_is_off() -> None:
    node = NODE.model_copy(update={"rates": [rate(seconds=2 * expected(STEP, SETTINGS, NODE))]})
    assert seconds(LORA, node) == pytest.approx(2 * seconds(LORA))


def test_the_reference_is_taken_of_what_the_steps_use() -> None:
    """3 of 10 steps: 30 % of the training examples, and all that is held out."""
    short = SETTINGS.model_copy(update={"max_steps": 3})
    on = {"ranks": 1, "row_tokens": 8_192, "node": NODE}
    whole = forecast(MODEL, SETTINGS, INSPECTION, **on).reference
    assert forecast(MODEL, short, INSPECTION, **on).reference == pytest.approx(0.3 * whole)
    assert forecast(MODEL, short, INSPECTION, **on, held_out=INSPECTION).reference == pytest.approx(1.3 * whole)
    split = forecast(MODEL, short, INSPECTION, **on, split=0.5).reference
    assert split == pytest.approx((0.5 + 0.5 * 0.6) * whole)


def test_without_a_measurement_it_says_so() -> None:
    found, basis = step_seconds(MODEL, SETTINGS, INSPECTION, ranks=1, row_tokens=8_192, node=NodeFacts())
    assert "assumed" in basis
    assert found > LAYER_SECONDS * 4


def test_no_reference_no_reference_pass() -> None:
    orpo = SETTINGS.model_copy(update={"loss": "orpo"})
    assert forecast(MODEL, orpo, INSPECTION, ranks=1, row_tokens=8_192, node=NodeFacts()).reference == 0


def test_the_nearest_measurement_is_of_the_same_precision_and_the_newest_of_equals() -> None:
    large = STEP.model_copy(update={"tokens": 1e9})
    rates = [rate(seconds=1), rate(seconds=2), rate(work=large, seconds=3), rate(precision="bf16", seconds=4)]
    node = NODE.model_copy(update={"rates": rates})
    found = nearest(node, STEP, 1, SETTINGS)
    assert found is not None
    assert found.seconds == 2
    half = nearest(node, STEP, 1, SETTINGS.model_copy(update={"precision": "bf16"}))
    assert half is not None
    assert half.seconds == 4
    assert nearest(NODE, STEP, 1, SETTINGS) is None


def test_what_an_older_version_measured_is_left_out() -> None:
    old = {"parameters": 1, "layers": 1, "precision": "fp32", "flops": 1.0, "rows": 1.0, "seconds": 1.0}
    assert NodeFacts.model_validate({"rates": [old, rate().model_dump()]}).rates == [rate()]


def test_start_and_export_grow_with_what_the_probe_and_the_check_score() -> None:
    """Before any job: dialogues ten times as long are probed and checked ten times as long, beside what is fixed."""
    on = {"ranks": 1, "row_tokens": 8_192, "node": NODE}
    long = INSPECTION.model_copy(
        update={
            "fed": {
                name: Fed(tokens=10 * each.tokens, largest=10 * each.largest) for name, each in INSPECTION.fed.items()
            },
            "scored_tokens": 10 * INSPECTION.scored_tokens,
        }
    )
    short, longer = (forecast(MODEL, SETTINGS, each, **on) for each in (INSPECTION, long))
    fixed = START_SECONDS + SECONDS_PER_GIGABYTE * MODEL.parameters * 4 / 2**30
    assert fixed < short.start < longer.start < fixed + 10 * (short.start - fixed)
    assert 2 * (fixed - START_SECONDS) < short.export < longer.export
    few = INSPECTION.model_copy(update={"usable": 1_000, "fed": long.fed, "scored_tokens": long.scored_tokens})
    assert forecast(MODEL, SETTINGS, few, **on).export == pytest.approx(short.export, rel=0.01), "32 of them, not all"
