"""In a JSON array on one line a record is named by its place in the array."""

import io
import json

import pytest

from cli.check import run
from preferences.check import check_file
from preferences.page.report import page
from preferences.samples import samples
from tests.unit.preferences.checks.planted import clean
from tests.unit.preferences.rows import check, jsonl

# A repeat, a contradiction, a record nearly as another, a bad one before them, and an extra field.
ROWS = clean(40)
ROWS = [
    {"prompt": "no answers"},
    *ROWS,
    ROWS[3],
    {**ROWS[5], "chosen": ROWS[5]["rejected"], "rejected": ROWS[5]["chosen"]},
    {**ROWS[7], "chosen": " ".join([*["of all that there is to say of it"] * 12, "this"]), "note": "x"},
    {**ROWS[7], "chosen": " ".join([*["of all that there is to say of it"] * 12, "that"]), "note": "y"},
]
SKIP = {"on_error": "skip", "max_bad_fraction": 1.0}


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "array.json"
    path.write_text(json.dumps(ROWS))
    return path


def told(report, code):
    found = next(each for each in report.checks if each.code == code)
    return [(each.line, each.element, each.note) for each in found.examples]


def test_findings_name_the_element(array):
    report = check_file(array, **SKIP)
    assert told(report, "exact_duplicates") == [(1, 41, "as element [4]")]
    both = "elements [6], [42] compare the same two answers, with both results"
    assert told(report, "contradictions") == [(1, 6, both), (1, 42, both)]
    assert told(report, "near_duplicates") == [(1, 44, "nearly element [43]")]
    (extra,) = (each for each in report.warnings if each.code == "extra_fields")
    assert (extra.lines, extra.elements) == ([1, 1], [43, 44])
    assert all(example.element is None for each in check(jsonl(ROWS), **SKIP).checks for example in each.examples)


def test_leakage_names_the_elements_of_both_files(array, tmp_path):
    held_out = tmp_path / "held_out.json"
    held_out.write_text(json.dumps([{**row, "prompt": f"Not {row['prompt']}"} for row in clean(12)] + [ROWS[9]]))
    report = check_file(array, validation=held_out, **SKIP)
    same, near, *_ = told(report, "train_validation_leakage")
    assert same == (1, 12, "its prompt is on element [9] of the training file")
    assert near == (1, 0, "its prompt is nearly that on element [1] of the training file")


def test_samples_name_the_element(array, tmp_path):
    canonical = tmp_path / "canonical"
    with canonical.open("wb") as target:
        report = check_file(array, canonical=target, **SKIP)
    for each in samples(canonical, report.checks, report.elements):
        assert each.line == 1
        assert each.prompt == ROWS[each.element]["prompt"]
    assert all(each.element is None for each in samples(canonical, report.checks))


def test_the_table_and_the_page_name_the_element(array, tmp_path, capsys):
    assert run(array, False, html=tmp_path / "page.html", **SKIP) == 0
    out = capsys.readouterr().out
    assert "elements" in out
    assert "[6], [42]" in out
    shown = (tmp_path / "page.html").read_text()
    for words in ("as element [4]", '<td class="n">[42]</td>', '<p class="who">element [42] ', "Elements 43, 44."):
        assert words in shown
    assert "line 1" not in shown
    assert run(array, True, **SKIP) == 0
    found = {each["code"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert [each["element"] for each in found["exact_duplicates"]["examples"]] == [41]


def test_lines_are_told_as_before(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS))
    assert run(tmp_path / "rows.jsonl", False, **SKIP) == 0
    assert "[42]" not in capsys.readouterr().out
    report = check_file(io.BytesIO(jsonl(ROWS)), **SKIP)
    assert told(report, "exact_duplicates") == [(42, None, "as line 5")]
    assert "element" not in page(report)
