"""The page of a report: it stands alone, holds the report's figures, and nothing of the file becomes markup."""

import re

import pytest

from preferences.page.charts import lengths, ticks
from preferences.page.report import page
from preferences.report import Report
from tests.unit.demo.test_page import VOID, Balanced
from tests.unit.preferences.page.reports import full, hostile, refused

VOID.add("wbr")
REPORTS = {"full": full, "refused": refused, "hostile": hostile, "empty": Report}


def read(html: str) -> Balanced:
    parsed = Balanced()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


def words(html: str) -> str:
    return " ".join(" ".join(read(html).words).split())


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_stands_alone_and_runs_nothing(name: str) -> None:
    html = page(REPORTS[name]())
    html.encode()
    assert not re.search(r"<(script|link|img|iframe|object|embed|base|form)\b|@import|url\(", html)
    loud = [each for each in read(html).attributes if each[1] in ("src", "href", "style") or each[1].startswith("on")]
    assert loud == []
    policy = [value for tag, name, value in read(html).attributes if (tag, name) == ("meta", "content")]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


def test_hostile_text_stays_text() -> None:
    html = page(hostile())
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("</style>") == 1
    assert not {"\x1b", "\u202e", "\ud800"} & set(html)
    # Title, heading and all other places: what it says is still there to be read.
    assert words(html).count("fetch('https://evil.example')") > 20


def test_what_is_wrong_stands_first() -> None:
    text = words(page(full()))
    places = [
        text.index(each)
        for each in (
            "support-and-forum.jsonl.gz",
            "✕ blocked",
            "58 of 100",
            "What to do first",
            "Decide each listed prompt one way",
            '"palate": {"accept": ["contradictions"]}',
            "Settings that suit this data: loss sigmoid_norm, label_smoothing 0.03",
            "What the checks found",
            "Contradictions contradictions ✕ blocks",
            "Length bias length_bias ! warns",
            "Slices",
            "Examples side by side",
            "What is in the file",
            "Left out",
        )
    ]
    assert places == sorted(places)


def test_the_figures_are_those_of_the_report() -> None:
    text = words(page(full()))
    for figure in (
        "3.4% · limit 1.0%",
        "102 records (3.4%)",
        "71.0% P(chosen longer)",
        "2,984",
        "28",
        "trl_ conversational",
    ):
        assert figure in text, figure
    for figure in (
        "line 85 says the opposite",
        "json_invalid",
        "300:17",
        "median_ratio 1.62",
        "437",
        "13,283",
        "forum",
    ):
        assert figure in text, figure
    assert "Six minutes in boiling water" in text


def test_a_file_that_cannot_be_used_says_so() -> None:
    text = words(page(refused()))
    assert "✕ not usable 12 of 3,012 records cannot be read." in text
    assert "score of the data" not in text


def test_charts_speak_and_show_both_sides() -> None:
    html = page(full())
    labels = [value for tag, name, value in read(html).attributes if (tag, name) == ("svg", "aria-label")]
    assert labels[0] == "How long the answers are. chosen: median 437 characters, rejected: median 270 characters"
    assert labels[1].startswith("Records left out, by code. chosen_equals_rejected: 13; json_invalid: 12")
    assert html.count('class="area good"') == html.count('class="area other"') == 1


def test_no_lengths_make_no_chart() -> None:
    assert lengths("t", {"chosen": []}, {}, {"chosen": "good"}) == ""
    assert lengths("t", {"chosen": [(0, 5)]}, {}, {"chosen": "good"}) == ""
    assert "NaN" not in lengths("t", {"chosen": [(1, 5)]}, {"chosen": 0}, {"chosen": "good"})


@pytest.mark.parametrize(("low", "high"), [(1, 2), (1, 100), (3, 80), (1, 16_000_000), (900, 1100)])
def test_ticks_are_few(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 1 <= len(found) <= 8
    assert all(low <= tick <= high for tick in found)
