"""The child that compares held-out records with the training records: a finding, or an exit code that says crash."""

import io
from pathlib import Path

from core.contract.finding import Finding
from preferences.check import check_file
from tests.unit.preferences.rows import Row, jsonl, triple
from worker import leakage


def canonical(path: Path, rows: list[Row]) -> Path:
    with path.open("wb") as target:
        assert check_file(io.BytesIO(jsonl(rows)), canonical=target, checks="none").usable
    return path


def found(tmp_path: Path, held_out: list[Row]) -> Finding:
    training = canonical(tmp_path / "training", [triple(n) for n in range(20)])
    validation, out = canonical(tmp_path / "validation", held_out), tmp_path / "out.json"
    arguments = ["--training", str(training), "--validation", str(validation), "--out", str(out)]
    assert leakage.main([*arguments, "--memory-bytes", "0"]) == 0
    return Finding.model_validate_json(out.read_bytes())


def test_a_prompt_of_both_files_blocks(tmp_path: Path) -> None:
    told = found(tmp_path, [triple(n) for n in range(100, 111)] + [triple(7)])
    assert (told.code, told.severity, told.count) == ("train_validation_leakage", "block", 1)
    assert [each.line for each in told.examples] == [12]


def test_prompts_apart_are_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path, [triple(n) for n in range(100, 112)]).severity == "info"


def test_what_cannot_be_read_is_a_crash(tmp_path: Path) -> None:
    arguments = ["--training", "/nowhere", "--validation", "/nowhere", "--out", str(tmp_path / "out")]
    assert leakage.main([*arguments, "--memory-bytes", "0"]) == 75
