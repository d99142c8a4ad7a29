"""Debian's chromium through playwright; tests of pages skip where there is none."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
DEADLINE_MS = 20_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"a page is looked at in a browser, and none of {', '.join(NAMES)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture(params=["desktop", "phone", "dark"])
def view(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A window; whatever a page says on its console, asks for or raises fails the test."""
    size = {"width": 390, "height": 844} if request.param == "phone" else {"width": 1280, "height": 900}
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme="dark" if request.param == "dark" else "light",
    )
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    noises: list[str] = []
    page.on("console", lambda said: noises.append(said.text))
    page.on("pageerror", lambda error: noises.append(str(error)))
    page.on("dialog", lambda dialog: noises.append(dialog.message))
    page.on("request", lambda asked: noises.append(asked.url) if not asked.url.startswith("file:") else None)
    yield page
    context.close()
    assert noises == []
