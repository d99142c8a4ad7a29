"""`palate clean`: a new file and a record beside it, whole or not at all; nothing that is there is overwritten."""

import json
from pathlib import Path

import pytest

from cli.main import main
from core.contract.findings import finding
from tests.unit.preferences.rows import jsonl, triple

ROWS = [triple(n) for n in range(12)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(jsonl([*ROWS, ROWS[0]]))
    return path


def clean(source: Path, out: Path, drop: str) -> int:
    return main(["clean", str(source), "--drop", drop, "--out", str(out)])


def test_a_new_file_and_what_went(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = source.read_bytes()
    assert clean(source, tmp_path / "new.jsonl", "duplicates, contradictions") == 0
    assert (tmp_path / "new.jsonl").read_bytes() == jsonl(ROWS)
    (line,) = (tmp_path / "new.jsonl.removed.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told["line"], told["reason"], json.loads(told["row"])) == (13, "duplicates", ROWS[0])
    assert "12 of 13 rows; removed: 1 duplicates" in capsys.readouterr().out
    assert source.read_bytes() == before


def report(path: Path, *lines: int) -> str:
    """As GET /v1/files/FILE/report?job=JOB answers."""
    found = finding("suspected_flips", 0.2, detail={"by": "cross-validation", "lines": list(lines)})
    path.write_text(json.dumps({"object": "file.report", "checks": [found.model_dump(mode="json")]}))
    return str(path)


def test_suspects_and_lines_go_too(source: Path, tmp_path: Path) -> None:
    listed = report(tmp_path / "report.json", 9, 4)
    out = tmp_path / "new.jsonl"
    assert main(["clean", str(source), "--suspects", listed, "--lines", "1, 6-7", "--out", str(out)]) == 0
    assert out.read_bytes() == jsonl([row for n, row in enumerate([*ROWS, ROWS[0]], 1) if n not in (1, 4, 6, 7, 9)])


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--lines", "7-x"], "`7-x` is neither"),
        (["--lines", "0"], "`0` is neither"),
        (["--lines", "14"], "No record begins on line 14"),
        (["--suspects", "{plain}"], "report?job=JOB"),
        (["--suspects", "{absent}"], "No such file"),
        ([], "Nothing is named"),
    ],
)
def test_a_list_that_says_nothing_is_refused(
    source: Path, tmp_path: Path, more: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.json").write_text('{"checks": []}')
    named = [each.format(plain=tmp_path / "plain.json", absent=tmp_path / "absent.json") for each in more]
    assert main(["clean", str(source), *named, "--out", str(tmp_path / "new.jsonl")]) == 1
    assert word in capsys.readouterr().err
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("taken", ["new.jsonl", "new.jsonl.removed.jsonl", "pairs.jsonl"])
def test_nothing_is_overwritten(source: Path, tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = source if taken == source.name else tmp_path / "new.jsonl"
    if out != source:
        (tmp_path / taken).write_text("mine")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert clean(source, out, "duplicates") == 1
    assert "is there already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize(
    ("name", "drop", "word"),
    [
        ("pairs.jsonl", "everything", "none of what can be dropped"),
        ("absent.jsonl", "duplicates", "No such file"),
        ("empty.jsonl", "duplicates", "empty"),
    ],
)
def test_a_refusal_leaves_nothing_behind(
    source: Path, tmp_path: Path, name: str, drop: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert clean(tmp_path / name, tmp_path / "new.jsonl", drop) == 1
    assert word in capsys.readouterr().err
    assert not list(tmp_path.glob("new.jsonl*"))
