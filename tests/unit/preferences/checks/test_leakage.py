"""Validation prompts in the training file: the same, nearly the same, and none."""

import random

import pytest

from core.contract.errors import BadInput
from core.contract.preference import Message
from preferences.checks.leakage import leakage
from tests.unit.preferences.checks.planted import answer, clean, pair
from tests.unit.preferences.rows import check, jsonl


def records(rows):
    return [pair(row, at) for at, row in enumerate(rows, 1)]


def test_other_prompts_do_not_leak():
    finding = leakage(records(clean(2_000, seed=1)), records(clean(600, seed=2)))
    assert (finding.severity, finding.count, finding.examples) == ("info", 0, [])
    assert finding.detail == {"exact": 0, "near": 0, "of": 600}


def test_a_leaked_prompt_blocks_and_both_lines_are_named():
    training, validation = clean(2_000, seed=1), clean(600, seed=2)
    for at in range(30):
        validation[at * 7]["prompt"] = f" {training[at * 11]['prompt']}\n"
    finding = leakage(records(training), records(validation))
    assert (finding.severity, finding.count, finding.value) == ("block", 30, 0.05)
    assert finding.examples[1].line == 8
    assert finding.examples[1].note == "its prompt is on line 12 of the training file"
    assert len(finding.examples) == 20


def test_a_prompt_that_is_nearly_the_same_warns():
    draw = random.Random(0)
    training = [{**row, "prompt": " ".join(answer(draw) for _ in range(3))} for row in clean(1_500, seed=1)]
    validation = clean(600, seed=2)
    for at in range(20):
        validation[at]["prompt"] = f"{training[at]['prompt']} Please."
    finding = leakage(records(training), records(validation))
    assert finding.severity == "warn"
    assert finding.detail["exact"] == 0
    assert 18 <= finding.detail["near"] <= 20
    assert finding.value == round(finding.detail["near"] / 600, 4) > finding.threshold
    assert "nearly" in finding.examples[0].note


def test_a_prompt_that_is_there_twice_over_counts_once_and_blocks():
    draw = random.Random(0)
    training = [{**row, "prompt": " ".join(answer(draw) for _ in range(3))} for row in clean(30, seed=1)]
    validation = clean(20, seed=2)
    for at in range(4):
        validation[at]["prompt"] = training[at]["prompt"]
    nearly = [{**row, "prompt": f"{row['prompt']} Please."} for row in training[:4]]
    validation[9]["prompt"] = f"{training[9]['prompt']} Please."
    finding = leakage(records(training + nearly), records(validation))
    assert (finding.severity, finding.count) == ("block", 5)
    assert finding.detail == {"exact": 4, "near": 1, "of": 20}


def instructed(rows, instructions):
    for record, told in zip(records(rows), instructions, strict=True):
        record.prompt.insert(0, Message(role="system", content=told))
        yield record


def test_instructions_that_all_prompts_share_are_no_leak():
    draw = random.Random(0)
    shared = " ".join(answer(draw) for _ in range(40))
    training, validation = clean(600, seed=1), clean(200, seed=2)
    finding = leakage(instructed(training, [shared] * 600), instructed(validation, [shared] * 200))
    assert (finding.severity, finding.count) == ("info", 0)
    training[5]["prompt"] = " ".join(answer(draw) for _ in range(3))
    validation[7]["prompt"] = f"{training[5]['prompt']} Please."
    finding = leakage(instructed(training, [shared] * 600), instructed(validation, [shared] * 200))
    assert (finding.severity, [each.line for each in finding.examples]) == ("warn", [8])


def test_the_same_request_under_other_instructions_is_no_leak():
    draw = random.Random(0)
    rows = [{**row, "prompt": "Sum up the text above in one sentence."} for row in clean(60)]
    texts = [" ".join(answer(draw) for _ in range(4)) for _ in range(60)]
    assert leakage(instructed(rows[:40], texts[:40]), instructed(rows[40:], texts[40:])).count == 0


def test_a_prompt_with_many_records_counts_each_of_them():
    rows = clean(40, seed=1)
    validation = [{**row, "prompt": rows[0]["prompt"]} for row in clean(10, seed=2)]
    assert leakage(records(rows), records(validation)).count == 10


def test_nothing_leaks_from_nothing():
    assert leakage([], records(clean(5))).count == 0
    assert leakage(records(clean(5)), []).count == 0


def test_a_file_is_checked_against_its_validation_file(tmp_path):
    training, validation = clean(300, seed=1), clean(60, seed=2)
    validation[4]["prompt"] = training[9]["prompt"]
    (tmp_path / "held.jsonl").write_bytes(jsonl(validation))
    made = check(jsonl(training), validation=tmp_path / "held.jsonl")
    finding = next(each for each in made.checks if each.code == "train_validation_leakage")
    assert (finding.severity, finding.count, finding.examples[0].line) == ("block", 1, 5)
    assert made.verdict.gate == "block"
    assert made.counts.records == 300


def test_a_validation_file_that_cannot_be_used_is_said_so(tmp_path):
    (tmp_path / "held.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(BadInput, match="validation file") as refused:
        check(jsonl(clean(20)), validation=tmp_path / "held.jsonl")
    assert refused.value.param == "validation"


def test_bad_lines_of_the_validation_file_are_skipped_as_those_of_the_file_are(tmp_path):
    (tmp_path / "held.jsonl").write_bytes(jsonl(clean(60, seed=2)) + b"{\n")
    made = check(jsonl(clean(60)), validation=tmp_path / "held.jsonl", on_error="skip", max_bad_fraction=0.1)
    assert next(each for each in made.checks if each.code == "train_validation_leakage").detail["of"] == 60
    with pytest.raises(BadInput, match="too_many_bad_lines"):
        check(jsonl(clean(60)), validation=tmp_path / "held.jsonl", on_error="skip", max_bad_fraction=0.01)
