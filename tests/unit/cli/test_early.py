"""What is wrong with a file, from the process that reads it beside the upload: rows at once, the whole at its end."""

from pathlib import Path

import pytest

from cli import early
from tests.unit.preferences.rows import jsonl, triple

GOOD = jsonl([triple(n) for n in range(30)])
USELESS = jsonl([triple(0) | {"rejected": triple(0)["chosen"]}])


@pytest.mark.parametrize(
    ("data", "skip", "doomed", "told"),
    [
        (GOOD, False, False, []),
        (GOOD + USELESS, False, False, ["line 31: chosen_equals_rejected: "]),
        (GOOD + b"{\n" * 12, True, False, [f"line {n}: json_invalid: " for n in range(31, 41)]),
        (GOOD + b"{\n", False, True, ["line 31: json_invalid: "]),
        (b"PK\3\4", True, True, []),
    ],
    ids=["good", "useless", "skipped", "malformed", "no such container"],
)
def test_rows_are_told_and_only_a_certain_refusal_dooms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, skip: bool, doomed: bool, told: list[str]
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(data)
    with early.reading(path, format=None, skip=skip) as reader:
        reader.join(60)
        assert reader.doomed == doomed
        if doomed:
            assert f"{path} would be refused, and is not sent: " in str(reader.verdict(path))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(told)
    assert all(start in line for start, line in zip(told, said, strict=True))
