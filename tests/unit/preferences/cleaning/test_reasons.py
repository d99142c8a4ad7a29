"""A row of several records goes as a repeat only where every record of it is one."""

from core.contract.preference import Message, Origin, PreferenceRecord
from preferences.cleaning.reasons import Reasons
from preferences.judge import Judged
from preferences.repeats import Print
from preferences.rows import RawRow


def judged(chosen: str, rejected: str, line: int) -> Judged:
    record = PreferenceRecord(
        id="i",
        prompt=[Message(role="user", content="p")],
        chosen=[Message(role="assistant", content=chosen)],
        rejected=[Message(role="assistant", content=rejected)],
        origin=Origin(line=line, format="f"),
    )
    return Judged(record.model_dump_json().encode(), None, [], {}, [], {}, {}, Print(b"", b"", 0))


def going(*rows: list[tuple[str, str]]) -> dict[int, str]:
    reasons = Reasons(["duplicates", "contradictions"])
    for line, pairs in enumerate(rows, 1):
        reasons.see(RawRow(line, 1, None, b"{}", False), [judged(*pair, line) for pair in pairs])
    return {line: reason.name for line, reason in reasons.of().items()}


def test_a_part_that_is_repeated_is_not_the_row() -> None:
    assert going([("a", "b"), ("a", "c")], [("a", "b"), ("a", "d")]) == {}
    assert going([("a", "b"), ("a", "c")], [("a", "c"), ("a", "b")]) == {2: "duplicates"}


def test_a_part_that_contradicts_is_enough() -> None:
    assert going([("a", "b"), ("a", "c")], [("c", "a")]) == {1: "contradictions", 2: "contradictions"}
