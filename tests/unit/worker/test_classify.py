"""What an attempt's end means: the trainer's last word first, then what its ranks left behind."""

import pytest

from core.contract.exits import Exit
from core.contract.states import FailureClass, Outcome
from core.contract.trainer_events import Failed, Finished, Stopped
from worker.classify import classify

FINISHED = Finished(time=0, step=4, metrics={}, trained_tokens=1)


def test_finished_needs_the_word_and_the_exit_code() -> None:
    assert classify(FINISHED, 0, {0: 0}, [], 0, 5).outcome == Outcome.FINISHED
    assert classify(FINISHED, 1, {}, [1], 0, 5).outcome == Outcome.FAILED


@pytest.mark.parametrize(("reason", "outcome"), [("cancel", Outcome.STOPPED), ("drain", Outcome.PREEMPTED)])
def test_stopped_by_a_wish(reason: str, outcome: Outcome) -> None:
    assert classify(Stopped(time=0, step=1, reason=reason), 1, {0: 11}, [], 0, 5).outcome == outcome


@pytest.mark.parametrize(
    ("code", "failure", "retry"),
    [
        (Exit.BAD_DATA, FailureClass.USER, False),
        (Exit.BAD_MODEL, FailureClass.USER, False),
        (Exit.DIVERGED, FailureClass.NUMERIC, False),
        (Exit.REFUSED, FailureClass.REFUSED, False),
        (Exit.BUG, FailureClass.BUG, True),
        (Exit.INFRASTRUCTURE, FailureClass.INFRA, True),
    ],
)
def test_a_failure_has_the_class_of_its_exit_code(code: Exit, failure: FailureClass, retry: bool) -> None:
    last = Failed(time=0, code="c", message="Why", param="p", line=7)
    ending = classify(last, 1, {0: code}, [1], 0, 5)
    assert (ending.failure, ending.retry, ending.exit_code) == (failure, retry, code)
    assert ending.error == {"code": "c", "message": "Why (line 7)", "param": "p"}


def test_a_killed_rank_is_infrastructure_while_there_is_progress() -> None:
    assert classify(None, 1, {}, [1], 3, 5).retry
    ending = classify(None, 1, {}, [1], 4, 5)
    assert (ending.failure, ending.retry) == (FailureClass.INFRA, False)


def test_what_nobody_explains_is_our_bug_and_ends_after_two_retries() -> None:
    assert [classify(None, 1, {}, [], retries, 5).retry for retries in (0, 1, 2)] == [True, True, False]
    assert classify(None, 1, {}, [], 0, 5).failure == FailureClass.BUG


def test_a_gpu_out_of_memory_is_tried_with_smaller_rows_three_times() -> None:
    last = Failed(time=0, code="out_of_gpu_memory", message="Too small")
    endings = [classify(last, 1, {0: Exit.OUT_OF_GPU_MEMORY}, [], 0, 5, halvings) for halvings in range(4)]
    assert [ending.retry for ending in endings] == [True, True, True, False]
    assert {ending.failure for ending in endings} == {FailureClass.OOM_GPU}
