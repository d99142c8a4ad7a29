"""The header Range."""

import pytest

from api.ranges import Range, Unsatisfiable, requested


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=0-0", Range(0, 0)),
        ("bytes=2-", Range(2, 9)),
        ("bytes=2-100", Range(2, 9)),
        ("bytes=-3", Range(7, 9)),
        ("bytes=-100", Range(0, 9)),
        ("bytes = 2 - 3", Range(2, 3)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes=²-³", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_of_ten_bytes(header: str | None, found: Range | None) -> None:
    assert requested(header, 10) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=-1", 0)])
def test_nothing_there(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        requested(header, size)
