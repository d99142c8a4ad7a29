"""The data report in a real browser: on a desk, on a phone, in the dark; and of a file that wants to be markup."""

from pathlib import Path

from playwright.sync_api import Page

from preferences.page.preview import page as preview_page
from preferences.page.report import page
from tests.unit.preferences.page.previews import previews
from tests.unit.preferences.page.reports import full, hostile, refused
from tests.web.looks import sound


def opened(view: Page, tmp_path: Path, html: str) -> None:
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    view.goto(path.as_uri())


def test_the_report_can_be_read(view: Page, tmp_path: Path) -> None:
    opened(view, tmp_path, page(full()))
    for folded in view.locator("summary").all():
        folded.click()
    sound(view)
    assert view.get_by_role("heading", name="support-and-forum.jsonl.gz").is_visible()
    assert view.get_by_text("line 85 says the opposite of the same two answers").is_visible()
    charts = view.get_by_role("img").all()
    assert len(charts) == 2
    assert all((box := chart.bounding_box()) and box["width"] > 250 for chart in charts)


def test_the_preview_can_be_read(view: Page, tmp_path: Path) -> None:
    opened(view, tmp_path, preview_page("pairs.jsonl", "my-base", 512, previews()))
    sound(view)
    counted = view.locator(".piece.in", has_text="minutes").first
    plain = view.locator(".prompt .piece", has_text="boil").first
    ground = "e => getComputedStyle(e).backgroundColor"
    assert counted.evaluate(ground) != plain.evaluate(ground)
    assert "line-through" in view.locator(".piece.cut").last.evaluate("e => getComputedStyle(e).textDecorationLine")


def test_answers_stand_side_by_side_where_there_is_room(view: Page, tmp_path: Path) -> None:
    opened(view, tmp_path, page(full()))
    chosen, rejected = (each.bounding_box() for each in view.locator(".pair").first.locator("> div").all())
    assert chosen
    assert rejected
    beside = rejected["x"] >= chosen["x"] + chosen["width"]
    assert beside == (view.viewport_size is not None and view.viewport_size["width"] > 720)


def test_a_hostile_file_is_only_text(view: Page, tmp_path: Path) -> None:
    opened(view, tmp_path, page(hostile()))
    for folded in view.locator("summary").all():
        folded.click()
    sound(view)
    assert view.locator("script, img, iframe").count() == 0


def test_a_refused_file_says_why(view: Page, tmp_path: Path) -> None:
    opened(view, tmp_path, page(refused()))
    sound(view)
    assert view.get_by_text("✕ not usable").is_visible()
