"""The preview's page: each token once, by what becomes of it."""

import re

from preferences.page.preview import page
from preferences.report import FileError
from tests.unit.preferences.page.previews import previews
from tests.unit.preferences.page.test_report_page import read, words


def card(number: int) -> str:
    return page("pairs.jsonl", "tiny", 64, [previews()[number]])


def tokens(html: str, tone: str) -> list[str]:
    return re.findall(rf'<span class="piece {tone}">([^<]*)</span>', html.split("</header>")[1])


def test_what_the_loss_counts_is_marked() -> None:
    assert tokens(card(0), "in") == ["Six", " minutes", ".", "&lt;end&gt;", "Ten", ".", "&lt;end&gt;"]
    assert tokens(card(0), "")[:3] == ["&lt;user&gt;", "How", " do"]
    assert "chosen 4 tokens, 4 counted" in words(card(0))


def test_what_is_cut_stands_where_it_stood() -> None:
    shown = re.findall(r'piece ([a-z]*)">([^<]*)<', card(1).split("</header>")[1])
    assert shown[:5] == [("", "&lt;user&gt;"), ("cut", "An"), ("cut", " old"), ("cut", " turn"), ("", "How")]
    assert tokens(card(2), "cut") == [" three", " four"]
    assert "left out: too_long" in words(card(2))


def test_what_is_told_of_the_template_stands_above_the_prompt() -> None:
    assert "tokens of prompt The chat template tells the time. " in words(card(1))
    assert "tells the time" not in words(card(0))


def test_what_is_not_shown_is_counted() -> None:
    assert "5,300 tokens of prompt" in words(card(3))
    assert "… 5,000 more …" in words(card(3))


def test_hostile_tokens_stay_text() -> None:
    html = page("<b>.jsonl", "<i>", 64, previews())
    assert not re.search(r"<(script|img|b>|i>)", html)
    assert read(html).open == []
    assert "No record can be shown." in page("a", "b", 1, [])


def test_why_nothing_is_shown() -> None:
    told = words(page("a", "tiny", 0, [], FileError(code="no_chat_template", message="It has <none>.")))
    assert "With tiny: no_chat_template It has <none>. No record can be shown." in told
    assert "0 tokens" not in told
