"""The preference files: their layout, and that nothing of the held-out side is trained on."""

import json
from pathlib import Path

import pytest

from demo import data, grammar
from demo.scenario import SMOLLM2, STORYTELLER, Scenario
from preferences.check import check_file


@pytest.mark.parametrize("scenario", [STORYTELLER, SMOLLM2], ids=lambda each: each.name)
def test_every_row_has_the_layout(scenario: Scenario, tmp_path: Path) -> None:
    files = data.write_both(tmp_path, scenario)
    for path, count in ((files.training, scenario.training_pairs), (files.held_out, scenario.held_out_pairs)):
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
            assert question["content"].endswith(scenario.request)
            assert (good["role"], flat["role"]) == ("assistant", "assistant")
            assert (grammar.kind(good["content"]), grammar.kind(flat["content"])) == ("intriguing", "flat")


@pytest.mark.parametrize("scenario", [STORYTELLER, SMOLLM2], ids=lambda each: each.name)
def test_held_out_openings_are_not_in_the_training_file(scenario: Scenario, tmp_path: Path) -> None:
    files = data.write_both(tmp_path, scenario)
    told, unseen = (
        {json.loads(line)["input"]["messages"][0]["content"] for line in path.read_text().splitlines()}
        for path in (files.training, files.held_out)
    )
    assert len(told) == scenario.training_pairs
    assert told.isdisjoint(unseen)
    assert told.isdisjoint(scenario.ask(each.text) for each in scenario.shown)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    one, two = (data.write_both(tmp_path / name, STORYTELLER) for name in "12")
    assert one.training.read_bytes() == two.training.read_bytes()
    assert one.held_out.read_bytes() == two.held_out.read_bytes()


@pytest.mark.parametrize("scenario", [STORYTELLER, SMOLLM2], ids=lambda each: each.name)
def test_the_service_s_own_checks_have_nothing_to_say(scenario: Scenario, tmp_path: Path) -> None:
    files = data.write_both(tmp_path, scenario)
    for path, count in ((files.training, scenario.training_pairs), (files.held_out, scenario.held_out_pairs)):
        report = check_file(path)
        assert (report.format, report.error, report.errors) == ("openai_preference", None, [])
        assert report.counts.usable == count
