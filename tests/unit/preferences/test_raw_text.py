"""`raw_text`: the texts of a plain_triple stay as they are, and nothing else can be raw."""

import io
import json

import pytest
import zstandard

from core.contract.errors import BadInput
from preferences.page.report import page
from tests.unit.preferences.rows import BUILDERS, among_good, check, conversational, jsonl, openai, triple
from tests.unit.preferences.test_formats import records

OWN = {"prompt": "q", "chosen": "yes", "rejected": "no"}


def own(number: int = 0) -> dict[str, object]:
    return {"q": f" What is {number} + 1?\n", "yes": f" It is {number + 1}. ", "no": " No idea.\n", "input": "unused"}


@pytest.mark.parametrize("format", [None, "plain_triple"])
def test_texts_are_kept_to_the_letter(format):
    rows = [{"prompt": f" Q{n}: ", "chosen": f" yes {n}\n", "rejected": "\tno "} for n in range(12)]
    first, *_ = found = records(jsonl(rows), raw_text=True, format=format)
    assert all(each.raw_text for each in found)
    assert [first.prompt[0].content, first.chosen[0].content, first.rejected[0].content] == list(rows[0].values())


@pytest.mark.parametrize(("mapping", "format"), [(OWN, None), (OWN, "plain_triple"), ({"weight": "w"}, None)])
def test_a_mapping_may_name_the_texts(mapping, format):
    rows = [own(n) if mapping == OWN else triple(n) | {"w": 2} for n in range(12)]
    first, *_ = records(jsonl(rows), raw_text=True, mapping=mapping, format=format)
    assert first.raw_text
    assert first.prompt[0].content == next(iter(rows[0].values()))
    assert first.weight == (1 if mapping == OWN else 2)


def test_a_line_says_so_where_it_is_true_alone():
    """A file that is not raw keeps its digest."""
    lines = {}
    digests = set()
    for raw_text in (False, True):
        canonical = io.BytesIO()
        digests.add(check(jsonl([triple(n) for n in range(10)]), canonical=canonical, raw_text=raw_text).digest)
        lines[raw_text] = json.loads(zstandard.decompress(canonical.getvalue(), 1 << 20).splitlines()[0])
    assert lines[True] == lines[False] | {"raw_text": True}
    assert "raw_text" not in lines[False]
    assert len(digests) == 2


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "plain_triple"])
def test_rows_of_another_format_are_refused(name):
    data = jsonl([BUILDERS[name](n) for n in range(12)])
    report = check(data, raw_text=True)
    assert report.error.code == "raw_text_not_texts"
    assert f"the rows are {name}. Leave `raw_text` out" in report.error.message
    assert (report.format, report.digest) == (name, None)
    with pytest.raises(BadInput, match=f"format {name} has others") as error:
        check(data, raw_text=True, format=name)
    assert (error.value.code, error.value.param) == ("raw_text_not_texts", "raw_text")


@pytest.mark.parametrize(
    "mapping",
    [
        {"chosen": "a", "rejected": "b"},
        {"prompt": "a", "completion": "b", "label": "c"},
        {"prompt": "q", "answers": ["a", "b"], "ranks": ["c", "d"]},
        OWN | {"system": "s"},
        OWN | {"tools": "t"},
    ],
)
def test_a_mapping_of_something_else_is_refused(mapping):
    with pytest.raises(BadInput, match="Map these three") as error:
        check(b"", raw_text=True, mapping=mapping)
    assert (error.value.code, error.value.param) == ("raw_text_not_texts", "raw_text")


@pytest.mark.parametrize(("name", "value"), [("system", "Be brief."), ("tools", [{"name": "f"}])])
def test_what_only_a_template_could_show_is_an_error_of_its_line(name, value):
    row = triple(3) | {name: value}
    (error,) = check(among_good(row, triple), raw_text=True).errors
    assert (error.code, error.path) == ("not_raw_text", name)
    assert "write all that the model is to read into the prompt" in error.hint
    assert check(among_good(row, triple)).errors == []


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected"])
def test_messages_behind_a_mapping_are_no_texts(name):
    rows = [own(n) for n in range(20)]
    rows[7][OWN[name]] = conversational(7)[name]
    (error,) = check(jsonl(rows), raw_text=True, mapping=OWN).errors
    assert (error.line, error.code, error.path) == (8, "field_type", OWN[name])
    rows[7].pop(OWN[name])
    (error,) = check(jsonl(rows), raw_text=True, mapping=OWN).errors
    assert (error.line, error.code, error.path) == (8, "field_missing", OWN[name])


def test_the_report_tells_it():
    report = check(jsonl([triple(n) for n in range(12)]), raw_text=True)
    assert report.raw_text
    assert "format, raw text, jsonl" in page(report)
    assert "raw text" not in page(check(jsonl([openai(n) for n in range(12)])))
