"""The preference files: their layout, and that nothing of the held-out side is trained on."""

import json
from pathlib import Path

from demo import data, grammar
from preferences.check import check_file


def test_every_row_has_the_layout(tmp_path: Path) -> None:
    files = data.write_both(tmp_path)
    for path, count in ((files.training, data.TRAINING_PAIRS), (files.held_out, data.HELD_OUT_PAIRS)):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rows) == count
        for row in rows:
            assert set(row) == {"input", "preferred_output", "non_preferred_output"}
            (question,), (good,), (flat,) = (
                row["input"]["messages"],
                row["preferred_output"],
                row["non_preferred_output"],
            )
            assert question["role"] == "user"
            assert (good["role"], flat["role"]) == ("assistant", "assistant")
            assert (grammar.kind(good["content"]), grammar.kind(flat["content"])) == ("intriguing", "flat")


def test_held_out_openings_are_not_in_the_training_file(tmp_path: Path) -> None:
    files = data.write_both(tmp_path)
    told, unseen = (
        {json.loads(line)["input"]["messages"][0]["content"] for line in path.read_text().splitlines()}
        for path in (files.training, files.held_out)
    )
    assert len(told) == data.TRAINING_PAIRS
    assert told.isdisjoint(unseen)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    one, two = data.write_both(tmp_path / "1"), data.write_both(tmp_path / "2")
    assert one.training.read_bytes() == two.training.read_bytes()
    assert one.held_out.read_bytes() == two.held_out.read_bytes()


def test_the_service_s_own_checks_have_nothing_to_say(tmp_path: Path) -> None:
    files = data.write_both(tmp_path)
    for path, count in ((files.training, data.TRAINING_PAIRS), (files.held_out, data.HELD_OUT_PAIRS)):
        report = check_file(path)
        assert (report.format, report.error, report.errors) == ("openai_preference", None, [])
        assert report.counts.usable == count
