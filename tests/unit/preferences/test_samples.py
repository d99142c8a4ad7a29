"""Records to look at: those that findings name, shortened, and never more than fit on a page."""

import io
import json
from pathlib import Path

import pytest

from core.contract.finding import Place
from core.contract.findings import finding
from preferences.check import check_file
from preferences.samples import ANSWER, MOST, PROMPT, samples
from tests.unit.preferences.rows import conversational, hh, jsonl, kto, ranked, triple


@pytest.fixture
def canonical(tmp_path: Path):
    def write(rows: list) -> Path:
        path = tmp_path / "canonical.jsonl.zst"
        with path.open("wb") as target:
            report = check_file(io.BytesIO(jsonl(rows)), canonical=target)
        assert report.usable, report.error
        return path

    return write


def test_records_that_findings_name_come_first_with_their_codes(canonical) -> None:
    path = canonical([triple(n) for n in range(60)])
    found = [
        finding("contradictions", 0.1, examples=[(Place(49, 50), "x"), (Place(6, 7), "y")]),
        finding("length_bias", 0.9, examples=[(Place(6, 7), "z")]),
        finding("exact_duplicates", 0.0, examples=[(Place(2, 3), "not loud")]),
        finding("train_validation_leakage", 0.1, examples=[(9, "a line of another file")]),
    ]
    shown = samples(path, found)
    assert len(shown) == MOST
    assert [(each.line, each.codes) for each in shown[:2]] == [
        (50, ["contradictions"]),
        (7, ["contradictions", "length_bias"]),
    ]
    assert not any(each.codes for each in shown[2:])
    assert len({each.line for each in shown}) == MOST
    assert shown[0].prompt == "What is 49 + 1?"
    assert [(each.name, each.text) for each in shown[0].answers] == [("chosen", "It is 50."), ("rejected", "No idea.")]


def test_they_are_the_same_at_each_reading(canonical) -> None:
    path = canonical([triple(n) for n in range(100)])
    assert samples(path, []) == samples(path, [])


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (conversational, {"chosen", "rejected"}),
        (hh, {"chosen", "rejected"}),
        (kto, {"wanted", "not wanted"}),
        (ranked, {"rank 1", "rank 2", "rank 3"}),
    ],
)
def test_each_kind_has_its_own_names(canonical, build, names) -> None:
    shown = samples(canonical([build(n) for n in range(12)]), [])
    assert len(shown) == 12
    assert {answer.name for each in shown for answer in each.answers} == names


def test_long_texts_are_shortened_and_huge_lines_left_alone(canonical) -> None:
    rows = [triple(n) for n in range(12)]
    rows[4] = {"prompt": "q" * 5000 + "?", "chosen": "c" * 5000, "rejected": "r"}
    rows[5] = {"prompt": "huge", "chosen": "c" * (2 << 20), "rejected": "r"}
    found = finding("secrets", 0.1, examples=[(Place(4, 5), ""), (Place(5, 6), "")])
    shown = {each.line: each for each in samples(canonical(rows), [found])}
    assert (len(shown[5].prompt), shown[5].prompt[:3], shown[5].prompt[-1]) == (PROMPT + 2, "… q", "?")
    assert (len(shown[5].answers[0].text), shown[5].answers[0].text[-1]) == (ANSWER + 2, "…")
    assert 6 not in shown


def test_what_looks_personal_is_masked(canonical) -> None:
    rows = [triple(n) for n in range(12)]
    key = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA2cD4fG6"
    rows[2] = {
        "prompt": "Write to jane.doe@mail.co or +1 650-253-0000",
        "chosen": f"My card is 4539 1488 0343 6467, my IBAN DE89 3704 0044 0532 0130 00, my key {key}.",
        # Half of the number would stand behind the cut.
        "rejected": "x" * (ANSWER - 8) + " 4539 1488 0343 6467",
    }
    shown = next(each for each in samples(canonical(rows), []) if each.line == 3)
    assert shown.prompt == "Write to <e-mail> or <phone>"
    assert shown.answers[0].text == "My card is <card>, my IBAN <IBAN>, my key <key>."
    assert "4539" not in shown.answers[1].text


def test_records_of_one_line_are_told_apart(tmp_path: Path) -> None:
    """A bad record and one that is left out stand before the two that are named."""
    rows = [triple(n) for n in range(301)]
    rows[4]["rejected"] = ""
    rows.append({**rows[20], "chosen": rows[20]["rejected"], "rejected": rows[20]["chosen"]})
    for number, key in ((30, "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA2cD4fG6"), (31, "")):
        rows[number]["chosen"] += key
    path = tmp_path / "canonical.jsonl.zst"
    with path.open("wb") as target:
        report = check_file(io.BytesIO(json.dumps(rows).encode()), canonical=target)
    (shown,) = [each for each in samples(path, report.checks) if "secrets" in each.codes]
    assert (shown.line, shown.prompt) == (1, "What is 30 + 1?")
