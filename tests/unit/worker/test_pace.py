"""When a run is silent for too long: never before its first step, after ten steps in training, later elsewhere."""

import time

import pytest

from core.contract.states import Phase
from core.contract.trainer_events import Finished, PhaseChanged, ResumePointSealed, Started, Step
from worker.pace import Pace


def step(number: int, at: float) -> Step:
    speed = {"pairs_per_second": 1.0, "eta_seconds": 1.0}
    return Step(time=at, step=number, total_steps=100, epoch=0.0, metrics={}, tokens=1, **speed)


@pytest.mark.parametrize(
    ("seconds", "phase", "limit"),
    [
        (1.0, None, 300.0),
        (60.0, None, 600.0),
        (1.0, Phase.EVALUATING, 1800.0),
        (1.0, Phase.SAVING, 1800.0),
        (1.0, Phase.TRAINING, 300.0),
    ],
)
def test_the_limit(seconds: float, phase: Phase | None, limit: float) -> None:
    pace = Pace(300.0, 1800.0)
    pace.take(PhaseChanged(time=0.0, phase=Phase.REFERENCE_PASS))
    assert pace.hangs(time.monotonic() + 1e6) == 0.0, "loading and compiling take what they take"
    for number in range(1, 6):
        pace.take(step(number, number * seconds))
    if phase:
        pace.take(PhaseChanged(time=6 * seconds, phase=phase))
    now = time.monotonic()
    assert pace.hangs(now + limit - 1) == 0.0
    assert pace.hangs(now + limit + 1) > limit


def test_the_start_and_the_end_are_those_of_the_whole_run() -> None:
    """Exports in the middle are no end, and a run that goes on from a resume point tells nothing of a start."""
    begun = {"world_size": 1, "total_steps": 2, "pairs": 8, "dropped": 0, "layout": "shared"}
    pace = Pace(300.0, 1800.0)
    pace.launched = 100.0
    pace.take(Started(time=107.5, resumed_from_step=0, **begun))
    for at, phase in [(110, Phase.TRAINING), (111, Phase.EXPORTING), (112, Phase.TRAINING), (120, Phase.EXPORTING)]:
        pace.take(PhaseChanged(time=float(at), phase=phase))
    pace.take(PhaseChanged(time=121.0, phase=Phase.EXPORTING))
    pace.take(PhaseChanged(time=122.0, phase=Phase.VERIFYING))
    assert (pace.start, pace.end) == (7.5, None)
    pace.take(Finished(time=126.0, step=2, metrics={}, trained_tokens=1))
    assert pace.end == 6.0
    resumed = Pace(300.0, 1800.0)
    resumed.launched = 100.0
    resumed.take(Started(time=107.5, resumed_from_step=1, **begun))
    assert resumed.start is None


def test_a_run_that_only_verifies_may_hang_too() -> None:
    pace = Pace(300.0, 1800.0)
    pace.take(PhaseChanged(time=0.0, phase=Phase.VERIFYING))
    now = time.monotonic()
    assert pace.hangs(now + 1700) == 0.0
    assert pace.hangs(now + 1900) > 1800


def test_the_longest_that_a_resume_point_took() -> None:
    pace = Pace(300.0, 1800.0)
    assert pace.saving == 0.0
    for begun, sealed in ((100.0, 140.0), (200.0, 212.0)):
        pace.take(PhaseChanged(time=begun, phase=Phase.SAVING))
        pace.take(PhaseChanged(time=begun + 1, phase=Phase.TRAINING))
        pace.take(ResumePointSealed(time=sealed, step=1, path="resume/step-1"))
    assert pace.saving == 40.0
