"""docs/security.md has a row for each promise of SECURITY.md, and the tests that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 20
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or (name and f"def {name}(" not in (ROOT / path).read_text())
    ]
    assert missing == []


def test_every_promise_has_a_row_with_a_test() -> None:
    promised = set(re.findall(r"^(\d+)\. \*\*", (ROOT / "SECURITY.md").read_text(), re.MULTILINE))
    rows = re.findall(r"^\| (\d+) [^|]+\|[^|]+\|([^|]+)\|$", PAGE, re.MULTILINE)
    assert promised == {str(number) for number in range(1, 11)}
    assert {number for number, shown in rows if NAMED.search(shown)} == promised
    assert len(rows) == len(re.findall(r"^\| \d+ ", PAGE, re.MULTILINE))
