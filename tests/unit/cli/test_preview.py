"""`palate preview`: tokens in a terminal by what becomes of them, or as a page; it waits for the inspection."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import preview
from cli.arguments import parser
from cli.service import Service
from core.contract.errors import BadInput
from tests.unit.preferences.page.previews import previews

FOUND = {
    "object": "file.preview",
    "max_length": 64,
    "data": [each.model_dump(mode="json") for each in previews()],
    "error": None,
}
UNFIT = {"code": "no_chat_template", "message": "The model has no chat template."}


class Answering(Service):
    """Answers twice that it is computing."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.found = FOUND

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        if path == "/files/file-1":
            return {"id": "file-1", "status": "processed", "status_details": None}
        assert path == "/files/file-1/preview"
        self.asked.append(query)
        return {"status": "computing"} if len(self.asked) < 3 else self.found

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Answering:
    found = Answering()
    monkeypatch.setattr(Service, "of", classmethod(lambda cls, home: found))
    monkeypatch.setattr(preview, "AGAIN_SECONDS", 0.001)
    return found


def run(*more: str) -> int:
    return preview.run(parser().parse_args(["preview", "file-1", "--model", "tiny", *more]))


def test_a_stored_file_is_not_read_anew(service: Answering) -> None:
    with pytest.raises(BadInput, match="leave --raw-text out"):
        run("--raw-text")
    assert not service.asked


def test_it_waits_and_shows_every_record(service: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--limit", "5") == 0
    assert service.asked == [{"model": "tiny", "limit": 5}] * 3
    out = capsys.readouterr().out
    assert "counted by the loss" in out
    assert "How do I boil an egg?" in out
    assert "chosen: 4 tokens, 4 counted" in out
    assert "left out: too_long" in out
    assert "… 5000 more …" in out
    assert out.count("The chat template tells the time.") == 1
    assert "\x1b[2J" not in out


def test_colours_say_what_becomes_of_a_token() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="standard", width=120)
    preview.draw(previews()[2], console)
    preview.draw(previews()[1], console)
    out = written.getvalue()
    assert "\x1b[30;42mone\x1b[0m\x1b[30;42m two\x1b[0m" in out
    assert "\x1b[9;37;41m three\x1b[0m" in out
    assert "\x1b[9;37;41m old\x1b[0m" in out


def test_json_is_alone_on_stdout(service: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    assert json.loads(capsys.readouterr().out) == FOUND


def test_a_page(service: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--html", str(tmp_path / "p.html")) == 0
    assert "what the trainer sees" in (tmp_path / "p.html").read_text()
    with pytest.raises(BadInput, match="cannot be written"):
        run("--html", str(tmp_path / "none" / "p.html"))


@pytest.mark.parametrize("more", [[], ["--json"], ["--html", "{}"]], ids=["table", "json", "page"])
def test_why_nothing_can_be_shown(
    service: Answering, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    service.found = FOUND | {"data": [], "max_length": 0, "error": UNFIT}
    assert run(*(each.format(tmp_path / "p.html") for each in more)) == 1
    told = capsys.readouterr()
    assert "palate: The model has no chat template. (no_chat_template)" in told.err
    assert told.out == "" or json.loads(told.out) == service.found
    assert "--html" not in more or "no_chat_template" in (tmp_path / "p.html").read_text()
