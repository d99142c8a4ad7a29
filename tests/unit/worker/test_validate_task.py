"""What a user calls a file is never taken for an option of the process that checks it."""

from pathlib import Path

import pytest

from preferences.report import Report
from tests.unit.preferences.rows import jsonl, triple
from worker import validate_task


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
