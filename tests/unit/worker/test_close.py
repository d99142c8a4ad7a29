"""How long a job waits for its next attempt."""

import pytest

from tests.conftest import forget
from worker.close import backoff


@pytest.mark.parametrize(("retries", "most"), [(1, 20.0), (2, 40.0), (3, 80.0), (6, 600.0), (60, 600.0)])
def test_it_doubles_with_full_jitter_up_to_ten_minutes(retries: int, most: float) -> None:
    waits = [backoff(retries) for _ in range(400)]
    assert 0 <= min(waits) < 0.1 * most
    assert 0.9 * most < max(waits) <= most


def test_the_first_retry_comes_at_once() -> None:
    assert {backoff(0) for _ in range(20)} == {0.0}


def test_it_shrinks_with_the_time_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_TIME_SCALE", "0.1")
    forget()
    try:
        assert 1.0 < max(backoff(1) for _ in range(400)) <= 2.0
    finally:
        forget()
