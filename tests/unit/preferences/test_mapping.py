"""Layouts of one's own: canonical fields named by column or path."""

import json
import re

import pytest

from core.contract.errors import BadInput
from preferences.mapping import parse_mapping
from preferences.page.report import page
from tests.unit.preferences.rows import BUILDERS, check, hh, jsonl, kto, kto_messages, openai, triple, turn
from tests.unit.preferences.test_formats import records


def own(n):
    return {"ask": f"q{n}", "out.put": {"good": f"a{n}", "bad": "no"}, "sure": 0.9, "where": "forum", "more": [n]}


OWN = {"prompt": "ask", "chosen": "out.put.good", "rejected": "out.put.bad", "confidence": "sure", "source": "where"}


def test_paths_lead_into_columns_and_whole_columns_move():
    rows = [{"x": {"q": [{"t": f"q{n}"}], "w": 2}, "a.b": "yes", "c": ["no", "none"], "rest": n} for n in range(10)]
    mapping = {"prompt": "x.q[0].t", "chosen": "a.b", "rejected": "c[-1]", "weight": "x.w"}
    first, *_ = records(jsonl(rows), mapping=mapping)
    assert [first.prompt[0].content, first.chosen[0].content, first.rejected[0].content] == ["q0", "yes", "none"]
    assert first.weight == 2.0
    assert first.meta == {"x": rows[0]["x"], "c": ["no", "none"], "rest": 0}
    assert first.origin.format == "mapped"


def test_a_mapping_of_what_stands_beside_leaves_the_format_to_be_found():
    rows = [openai(n) | {"sure": 0.75, "site": "forum", "who": [{"id": "a", "choice": "tie"}]} for n in range(10)]
    mapping = {"confidence": "sure", "source": "site", "annotators": "who", "language": "input.lang"}
    first, *_ = records(jsonl(rows), mapping=mapping)
    assert (first.origin.format, first.confidence, first.source, first.language) == (
        "openai_preference",
        0.75,
        "forum",
        None,
    )
    assert first.annotators[0].id == "a"


def test_a_format_under_other_names():
    rows = [{"good": hh(n)["chosen"], "bad": hh(n)["rejected"]} for n in range(10)]
    first, *_ = records(jsonl(rows), mapping={"chosen": "good", "rejected": "bad"}, format="hh_rlhf")
    assert first.chosen[0].content == "It is 1."
    same, *_ = records(jsonl(rows), mapping={"chosen": "good", "rejected": "bad"})
    assert same.chosen == first.chosen


@pytest.mark.parametrize("names", ["ranks", "ratings"])
def test_columns_make_a_ranking(names):
    rows = [{"q": f"q{n}", "a1": "x", "a2": "y", "a3": "z", "r1": 1, "r2": 3, "r3": 2} for n in range(10)]
    mapping = {"prompt": "q", "answers": ["a1", "a2", "a3"], names: ["r1", "r2", "r3"]}
    first, *_ = records(jsonl(rows), mapping=mapping)
    assert first.ranks == ([1, 3, 2] if names == "ranks" else [3, 1, 2])
    assert first.meta == {}


def test_compared_columns_make_a_record_a_comparison():
    rows = [{"q": f"q{n}", "a": f"a{n}", "b": "b", "c": "c", "won": [1, 2, 0], "id": n} for n in range(10)]
    report = check(jsonl(rows), mapping={"prompt": "q", "answers": ["a", "b", "c"], "pairs": "won"})
    assert (report.counts.records, report.counts.pairs, report.counts.ties) == (10, 20, 10)
    found = records(jsonl(rows), mapping={"prompt": "q", "answers": ["a", "b", "c"], "pairs": "won"})
    told = [(each.kind, each.chosen[0].content, each.rejected[0].content) for each in found[:3]]
    assert told == [("pair", "a0", "b"), ("pair", "c", "a0"), ("tie", "b", "c")]
    assert len({each.id for each in found}) == 30


def test_two_columns_and_which_won():
    rows = [{"q": f"q{n}", "a": f"a{n}", "b": "b", "won": 1 + n % 2} for n in range(10)]
    found = records(jsonl(rows), mapping={"prompt": "q", "answers": ["a", "b"], "pairs": "won"})
    assert [each.chosen[0].content for each in found[:2]] == ["a0", "b"]


def test_single_answers_by_mapping():
    rows = [{"q": kto(n)["prompt"], "a": kto(n)["completion"], "ok": kto(n)["label"]} for n in range(10)]
    found = records(jsonl(rows), mapping={"prompt": "q", "completion": "a", "label": "ok"})
    assert [each.label for each in found[:2]] == [True, False]


@pytest.mark.parametrize(
    ("row", "mapping", "code", "path"),
    [
        ({"q": "x", "a": "1"}, {"prompt": "q", "chosen": "a", "rejected": "b"}, "field_missing", "b"),
        ({"q": "x", "a": "1", "b": 3}, {"prompt": "q", "chosen": "a", "rejected": "b"}, "field_type", "b"),
        ({"q": "x", "a": "1", "b": " "}, {"prompt": "q", "chosen": "a", "rejected": "b"}, "completion_empty", "b"),
        (
            {"q": [{"role": "x"}], "a": "1", "b": "2"},
            {"prompt": "q", "chosen": "a", "rejected": "b"},
            "role_invalid",
            "q[0].role",
        ),
        (
            {"q": "x", "a": "1", "b": "2", "won": [3]},
            {"prompt": "q", "answers": ["a", "b"], "pairs": "won"},
            "rank_invalid",
            "won[0]",
        ),
        (
            {"q": "x", "a": "1", "b": "2", "won": [1, 1]},
            {"prompt": "q", "answers": ["a", "b"], "pairs": "won"},
            "rank_invalid",
            "won",
        ),
        (
            {"q": "x", "a": "1", "b": None, "won": [1]},
            {"prompt": "q", "answers": ["a", "b"], "pairs": "won"},
            "field_missing",
            "b",
        ),
        (
            {"q": "x", "a": "1", "b": "2", "won": ["1"]},
            {"prompt": "q", "answers": ["a", "b"], "ranks": "won"},
            "rank_invalid",
            "won",
        ),
        ({"q": "x", "a": "1", "ok": "yes"}, {"prompt": "q", "completion": "a", "label": "ok"}, "label_not_bool", "ok"),
        (
            {"q": "x", "a": "1", "b": "2", "w": -1},
            {"prompt": "q", "chosen": "a", "rejected": "b", "weight": "w"},
            "weight_invalid",
            "w",
        ),
    ],
)
def test_errors_name_the_owners_columns(row, mapping, code, path):
    error = check(jsonl([row] * 12), mapping=mapping).errors[0]
    assert (error.code, error.path) == (code, path)


@pytest.mark.parametrize(
    "mapping",
    [
        "{",
        [1],
        {"promt": "q"},
        {"prompt": ""},
        {"prompt": ["a"]},
        {"answers": []},
        {"prompt": "q"},
        {"prompt": "q", "chosen": "a"},
        {"prompt": "q", "chosen": "a", "rejected": "b", "label": "c"},
        {"answers": "a", "pairs": "b"},
    ],
)
def test_a_mapping_that_makes_no_record_is_the_callers_mistake(mapping):
    with pytest.raises(BadInput) as error:
        check(jsonl([triple(0)]), mapping=mapping)
    assert error.value.param == "mapping"


def test_a_format_of_other_columns_takes_no_mapping_of_them():
    with pytest.raises(BadInput, match="openai_preference"):
        check(b"", mapping={"chosen": "a", "rejected": "b"}, format="openai_preference")


GUESSED = [
    ({"query": "q", "better": "a", "worse": "b"}, {"prompt": "query", "chosen": "better", "rejected": "worse"}),
    ({"user_question": "q", "pos": "a", "neg": "b"}, {"prompt": "user_question", "chosen": "pos", "rejected": "neg"}),
    (
        {"question": "q", "answer": "a", "thumbs_up": True},
        {"prompt": "question", "completion": "answer", "label": "thumbs_up"},
    ),
    (
        {"prompt": "q", "out_1": "a", "out_2": "b", "votes": [2]},
        {"prompt": "prompt", "answers": ["out_1", "out_2"], "pairs": "votes"},
    ),
    (
        {"prompt": "q", "a1": "a", "a2": "b", "a3": "c", "rank": [7, 2, 3]},
        {"prompt": "prompt", "answers": ["a1", "a2", "a3"], "ranks": "rank"},
    ),
]


@pytest.mark.parametrize(("row", "mapping"), GUESSED)
def test_an_unknown_layout_is_told_a_mapping_that_reads_it(row, mapping):
    report = check(jsonl([row] * 12))
    assert report.error.code == "format_unknown"
    assert f"This mapping may do: {json.dumps(mapping)}." in report.error.message
    assert check(jsonl([row] * 12), mapping=mapping).counts.bad == 0


def test_a_layout_without_a_guess_says_what_a_mapping_is():
    report = check(jsonl([{"x": 1, "y": turn("user", "a")}] * 12))
    assert "`mapping` of canonical fields to columns" in report.error.message


def test_the_report_shows_where_each_field_came_from():
    assert check(jsonl([openai(n) | {"weight": 2} for n in range(10)])).mapping == {
        "prompt": "input.messages",
        "chosen": "preferred_output",
        "rejected": "non_preferred_output",
        "weight": "weight",
    }
    assert check(jsonl([own(n) for n in range(10)]), mapping=OWN).mapping == OWN


NAMES = {"kto": ("prompt", "completion", "label"), "ranked": ("prompt", "answers", "ranks")}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_format_shows_where_each_field_came_from(name):
    report = check(jsonl([BUILDERS[name](n) for n in range(12)]))
    assert report.format == name
    columns = set(BUILDERS[name]())
    for field in NAMES.get(name, ("prompt", "chosen", "rejected")):
        assert re.split(r"[.\[]", report.mapping[field])[0] in columns, field
    shown = [f"<tr><td>{field}</td><td>{path}</td></tr>" for field, path in report.mapping.items()]
    bare = re.sub(r"<(\w+)[^>]*>", r"<\1>", page(report))
    assert [row for row in shown if row not in bare] == []


def test_the_label_s_own_name_is_shown():
    report = check(jsonl([kto_messages(n) for n in range(12)]))
    assert report.mapping == {"prompt": "messages", "completion": "messages", "label": "kto_tag"}


def test_cells_of_a_table_are_read_as_what_they_are_mapped_to():
    data = b"q,a,b,won,sure\n" + b"".join(b'q%d,1,2,"[%d]",0.9\n' % (n, 1 + n % 2) for n in range(12))
    found = records(data, mapping={"prompt": "q", "answers": ["a", "b"], "pairs": "won", "confidence": "sure"})
    assert [(each.chosen[0].content, each.confidence) for each in found[:2]] == [("1", 0.9), ("2", 0.9)]


@pytest.mark.parametrize("name", ["a" * 1025, "\u6f22" * 342])
@pytest.mark.parametrize("several", [False, True])
def test_a_name_of_a_column_has_an_end(name, several):
    with pytest.raises(BadInput, match="at most 1,024 are taken") as refused:
        parse_mapping({"prompt": "q", "answers": ["a", name]} if several else {"prompt": name})
    assert refused.value.param == "mapping"
