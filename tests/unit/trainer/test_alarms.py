"""Alarms: each fires on the run it is for, once, and stays silent on a good one."""

from typing import Any

import pytest

from core.contract.run_spec import Settings
from trainer.alarms import Alarms
from trainer.course import Progress

GOOD = {"shift": 0.05, "distance": 0.02, "rewards/accuracies": 0.8, "nll_loss": 2.5}


class Listener:
    def __init__(self, **settings: Any) -> None:
        self.told: list[str] = []
        self.progress = Progress()
        self.alarms = Alarms(Settings(warmup_ratio=0.1, **settings), 100, self.progress, self.hear)

    def hear(self, code: str, message: str, **data: float) -> None:
        assert message.endswith(".")
        self.told.append(f"{code}@{self.progress.step}")

    def steps(self, count: int, grad_norm: float = 1.0, **changed: float) -> list[str]:
        for _ in range(count):
            self.progress.step += 1
            self.alarms.look({**GOOD, **changed}, grad_norm)
        return self.told


def test_a_good_run_hears_nothing() -> None:
    assert Listener().steps(100) == []


def test_chosen_answers_that_fall() -> None:
    listener = Listener()
    assert listener.steps(10, shift=-0.1) == []
    assert listener.steps(30, shift=-0.9) == ["chosen_logps_fall@13"], "once"


@pytest.mark.parametrize(
    ("before", "allowed"),
    [(0.01, 0.05), (0.4, 0.1), (4.0, 0.5)],
)
def test_what_was_likely_may_lose_less(before: float, allowed: float) -> None:
    listener = Listener()
    assert listener.steps(5, shift=-allowed + 0.01, nll_loss=before + allowed - 0.01) == []
    assert listener.steps(5, shift=-allowed - 0.01, nll_loss=before + allowed + 0.01) == ["chosen_logps_fall@8"]


def test_one_batch_of_bad_luck_is_no_alarm() -> None:
    listener = Listener()
    listener.steps(5)
    listener.steps(1, shift=-2.0)
    assert listener.steps(20) == []


def test_nothing_learned_after_warm_up_and_a_quarter() -> None:
    assert Listener().steps(100, distance=5e-5) == ["nothing_learned@35"]


@pytest.mark.parametrize("loss", ["simpo", "orpo"])
def test_without_a_reference_nothing_is_compared_with_it(loss: str) -> None:
    assert Listener(loss=loss).steps(100, shift=-9.0, distance=0.0) == []


def test_everything_told_apart_too_early() -> None:
    listener = Listener()
    listener.steps(4, **{"rewards/accuracies": 1.0})
    listener.steps(1, **{"rewards/accuracies": 0.9})
    assert listener.steps(5, **{"rewards/accuracies": 1.0}) == ["accuracy_saturated@10"]
    late = Listener()
    late.steps(30)
    assert late.steps(70, **{"rewards/accuracies": 1.0}) == []


def test_a_gradient_that_jumps() -> None:
    listener = Listener()
    listener.steps(20, grad_norm=2.0)
    assert listener.steps(1, grad_norm=19.0) == []
    assert listener.steps(1, grad_norm=21.0) == ["gradient_spike@22"]


def test_what_was_told_before_a_resume_is_not_told_again() -> None:
    listener = Listener()
    listener.progress.alarms = ["chosen_logps_fall"]
    assert listener.steps(5, shift=-2.0) == []
