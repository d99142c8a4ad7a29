"""Whoever is refused is a row in the log, and no flood makes it more than so many."""

import pytest

from api.refusals import MOST_ADDRESSES, MOST_KEYS, NO_KEY, REST, WRONG_KEY, Refusals


def rows(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "api.refusals"]


def test_a_row_an_address(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for _ in range(960):
        refusals.count("10.0.0.7", WRONG_KEY, "k1")
    refusals.count("10.0.0.7", NO_KEY)
    refusals.count("10.0.0.8", WRONG_KEY)
    refusals.tell()
    assert rows(caplog) == [
        "refused of 10.0.0.7 within a minute: 960 with a wrong key, 1 without a key (keys: k1 960 x)",
        "refused of 10.0.0.8 within a minute: 1 with a wrong key",
    ]
    refusals.tell()
    assert len(rows(caplog)) == 2, "what was told is forgotten"


def test_a_flood_of_keys_and_addresses_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for number in range(2 * MOST_ADDRESSES):
        refusals.count(f"address {number}", NO_KEY)
        refusals.count("address 0", WRONG_KEY, f"k{number}")
    refusals.tell()
    told = rows(caplog)
    assert len(told) == MOST_ADDRESSES + 1
    assert f"others {2 * MOST_ADDRESSES - MOST_KEYS} x" in told[0]
    assert told[-1] == f"refused of {REST} within a minute: {MOST_ADDRESSES} {NO_KEY}"
