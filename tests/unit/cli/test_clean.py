"""`palate clean`: a new file and a record beside it, whole or not at all; nothing that is there is overwritten."""

import json
from pathlib import Path

import pytest

from cli.main import main
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
