"""The page: it stands alone, it holds the figures that it was given, and it reads without eyes."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from demo.page import page
from demo.scenario import SMOLLM2, STORYTELLER
from demo.svg import Line, Mark, bars, curves, nice_ticks
from tests.unit.demo.runs import run

VOID = {"meta", "br", "path", "circle", "rect"}


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open; collects attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Balanced:
    parsed = Balanced()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


def test_nothing_is_loaded_from_anywhere() -> None:
    html = page(run())
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\(", html)
    assert not [each for each in read(html).attributes if each[1] in ("src", "href") or each[1].startswith("on")]


def test_the_figures_are_those_given() -> None:
    text = "".join(read(page(run())).words)
    for figure in ("49%", "98%", "46%", "95%", "27 s", "49.2%", "98.4%", "before: 59 intriguing, 66 flat, 3 broken"):
        assert figure in text
    for figure in ("121 intriguing, 2 flat, 5 broken", "640 pairs", "128 held-out pairs", "0.001", "48.3 s"):
        assert figure in text
    for name in ("ft:storyteller:default:intriguing:abc", "ftjob-xyz", "cd" * 32, "79" * 32, "3,544,168"):
        assert name in text
    for figure in ("0.999", "6.49", "-6.29"):
        assert figure in text


def test_endings_stand_beside_each_other_with_their_kind_in_words() -> None:
    text = "".join(read(page(run())).words)
    assert "before – flatAn ending, flat.after ✦ intrigu" in text


def test_a_real_model_has_the_same_page_in_words_of_its_own() -> None:
    """Its endings are no grammar's: nobody says of which kind they are."""
    found = run()
    before, after = (replace(score, sampled=[]) for score in (found.before, found.after))
    text = "".join(read(page(replace(found, scenario=SMOLLM2, before=before, after=after))).words)
    for words in (SMOLLM2.wording.title, SMOLLM2.wording.lede, "49.2%", "98.4%", "beforeAn ending, flat.after"):
        assert words in text
    for words in (STORYTELLER.wording.title, "equally often", "Stories, vocabulary", "intrigue", "Broken", "of 0"):
        assert words not in text


def test_text_cannot_become_markup() -> None:
    html = page(run())
    assert "Mara &amp; the &lt;mine&gt;." in html
    assert "<mine>" not in html


def test_charts_speak() -> None:
    html = page(run())
    labels = [value for tag, name, value in read(html).attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == html.count("<svg") == 6
    assert "Loss. From 0.999 to 0.31" in labels


def test_a_run_without_figures_still_has_a_page() -> None:
    assert "No figures." in page(replace(run(), metrics={"step": []}, files=[], timings={}))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-100.5, 3), (0.286, 0.999), (5, 5), (0, 0), (-1e-6, 1e-6)])
def test_ticks_are_few_and_hold_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert ticks[0] <= low
    assert ticks[-1] >= high


def test_curves_stay_inside_their_frame_and_labels_apart() -> None:
    svg = curves("t", "a", [Line(n, "ink", [(1, v), (2, v + 0.01)]) for n, v in zip("abc", (1, 1, 1), strict=True)])
    heights = [float(y) for y in re.findall(r'class="label ink" x="[\d.]+" y="([\d.]+)"', svg)]
    assert len(heights) == 3
    assert all(b - a >= 14.9 for a, b in itertools.pairwise(heights))
    marked = curves("t", "a", [Line("x", "good", [(1, -3.0)])], [Mark("start", -6.0)])
    assert "start" in marked
    assert "−6" in marked


def test_a_bar_without_a_share_is_not_drawn() -> None:
    svg = bars("t", "a", [("before", [("good", "10", 1.0), ("flat", "0", 0.0)])])
    assert svg.count("<rect") == 2  # the track and one part
    assert 'class="fill flat"' not in svg
