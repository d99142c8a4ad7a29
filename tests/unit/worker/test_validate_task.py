"""What a user calls a file, or a column, stands in no process's arguments and is never taken for an option."""

from pathlib import Path

import pytest

from preferences.report import Report
from tests.unit.preferences.rows import jsonl, triple
from worker import child, validate_task


@pytest.mark.parametrize("name", ["-pairs.jsonl", "--format", "--name=x", "a b.jsonl", "-"])
def test_a_name_that_looks_like_an_option_stays_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "source").write_bytes(jsonl([{"q": row.pop("prompt"), **row} for row in map(triple, range(12))]))
    paths = [tmp_path / each for each in ("source", "canonical", "report.json")]
    mapping = {"prompt": "q", "chosen": "chosen", "rejected": "rejected"}
    options = {"mapping": mapping, "raw_text": True, "on_error": "skip", "max_bad_fraction": 0.5}
    validate_task.check(tmp_path, *paths, name=name, options=options, alive=lambda: None)
    report = Report.model_validate_json(paths[-1].read_bytes())
    assert report.raw_text
    assert (report.file, report.format, report.counts.usable, report.error) == (name, "mapped", 12, None)


def test_a_mapping_longer_than_any_argument_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux takes 128 KiB a word; columns of several fields may have more."""
    columns = [f"{n:03}" + "\u00e4\u6f22\U0001f600" * 100 for n in range(64)]
    mapping = {"prompt": "q", "answers": columns, "ratings": columns}
    rows = [{"q": "ask"} | {name: str(n) for n, name in enumerate(columns)} for _ in range(12)]
    (tmp_path / "source").write_bytes(jsonl(rows))
    paths = [tmp_path / each for each in ("source", "canonical", "report.json")]
    argv: list[str] = []
    run = child.run
    monkeypatch.setattr(child, "run", lambda *given, **more: argv.extend(map(str, given)) or run(*given, **more))
    validate_task.check(
        tmp_path, *paths, name="NAME-OF-A-USER", options={"mapping": mapping, "format": None}, alive=lambda: None
    )
    assert Report.model_validate_json(paths[-1].read_bytes()).format == "mapped"
    assert not any("NAME-OF-A-USER" in word or columns[0] in word for word in argv)
