"""Which form of an answer a client gets: JSON unless it likes another better."""

import pytest

from api.accept import HTML, JSON, LINES, preferred

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/html", HTML),
        ("Text/HTML; charset=utf-8", HTML),
        (BROWSER, HTML),
        ("text/*", HTML),
        ("application/json, text/html", JSON),
        ("application/json;q=0.2, text/html", HTML),
        ("text/html;q=0", JSON),
        ("text/html;q=nonsense, */*", JSON),
        ("image/png", JSON),
        (",;q=,,", JSON),
    ],
)
def test_the_form_that_is_wanted(header: str | None, form: str) -> None:
    assert preferred(header, (JSON, HTML)) == form


def test_lines_are_asked_for_by_name() -> None:
    assert preferred("application/x-ndjson", (JSON, LINES)) == LINES
    assert preferred("application/*", (JSON, LINES)) == JSON
