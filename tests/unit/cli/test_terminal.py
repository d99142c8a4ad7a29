"""A service that means harm: what it says is shown and never obeyed, what it names is written only where it belongs."""

import hashlib
import json
import os
import pty
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cli import main, pull
from cli.service import Refused, Service
from core.contract.errors import BadInput

NASTY = "a\x1b]0;owned\x07\x1b[31m\x9b2J\u202egnp\u2066\r\x00b"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

EVENTS = 200, json.dumps({"data": [{"id": "e", "message": NASTY}]}).encode()


class Hostile(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path.partition("?")[0], EVENTS)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[int, bytes]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    Hostile.answers = {}
    monkeypatch.setenv("PALATE_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("PALATE_API_KEY", "plt_test")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Hostile.answers
    server.shutdown()
    thread.join()
    server.server_close()


def told(value: Any, status: int = 200) -> tuple[int, bytes]:
    return status, json.dumps(value).encode()


def manifest(path: str, content: bytes, *, size: int | None = None) -> dict[str, Any]:
    size = len(content) if size is None else size
    return {"data": [{"path": path, "bytes": size, "sha256": hashlib.sha256(content).hexdigest()}]}


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_errors_words_are_shown_and_not_obeyed(
    service: dict[str, tuple[int, bytes]], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service["/v1/models/m/files"] = told({"error": {"message": NASTY, "code": NASTY}}, status)
    assert main.main(["pull", "m", str(tmp_path / "x")]) == 1
    said = capsys.readouterr().err
    assert "owned" in said
    assert not HARMFUL.search(said)


def test_names_and_errors_of_a_job(
    service: dict[str, tuple[int, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {
        "id": f"ftjob-{NASTY}", "status": "failed", "error": {"message": NASTY}, "fine_tuned_model": NASTY,
        "method": {"dpo": {"hyperparameters": {}}},
        "palate": {"phase": NASTY, "progress": None, "queue": {"position": 1, "reason": NASTY}, "version": 1},
    }  # fmt: skip
    service["/v1/fine_tuning/jobs/x"] = told(job)
    assert main.main(["watch", "x"]) == 1
    out = capsys.readouterr()
    assert "owned" in out.err
    assert "owned" in out.out
    assert not HARMFUL.search(out.out + out.err)


def test_all_of_an_answer_is_clean(service: dict[str, tuple[int, bytes]]) -> None:
    service["/v1/x"] = told({NASTY: [{"deep": [NASTY, 1, None, "line\n\ttext \u00e4\u6f22"]}]})
    with Service.of(Path()) as own:
        found = own.get("/x")
    ((name, value),) = found.items()
    assert not HARMFUL.search(name + value[0]["deep"][0])
    assert value[0]["deep"][1:] == [1, None, "line\n\ttext \u00e4\u6f22"]


@pytest.mark.parametrize(
    "path",
    [".bashrc", "a/.ssh/authorized_keys", "\x1b[31mred", "a\x00b", "a\nb", "gnp.\u202exe", "..", "a/../../b", "/etc/x",
     "a\\..\\b", "", ".", "\x9b2J", "a\u2028b"],
)  # fmt: skip
def test_a_name_that_is_no_models_is_not_written(
    service: dict[str, tuple[int, bytes]], tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service["/v1/models/m/files"] = told(manifest(path, b"x"))
    assert main.main(["pull", "m", str(tmp_path / "into")]) == 1
    assert "The service names a file" in capsys.readouterr().err
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(("size", "says"), [(3, "more bytes than the 3"), (9, "fewer bytes than the 9")])
def test_the_bytes_of_a_manifest_are_kept_to(
    service: dict[str, tuple[int, bytes]], tmp_path: Path, size: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service["/v1/models/m/files"] = told(manifest("a.bin", b"123456", size=size))
    service["/v1/models/m/files/a.bin"] = (200, b"123456")
    assert main.main(["pull", "m", str(tmp_path)]) == 1
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_size_below_nothing() -> None:
    with pytest.raises(BadInput, match="The service names a file"):
        pull.entry_of({"path": "a", "bytes": -1, "sha256": "0" * 64})


def test_what_moves_on_a_terminal_takes_a_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as a format nor as marks of a style."""
    from cli.bar import moving

    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with moving("{task.fields[x]} [link=http://evil]b[/link]", 4) as moved:
            moved(4)
        monkeypatch.undo()
    shown = os.read(ours, 1 << 16).decode(errors="replace")
    os.close(ours)
    assert "[link=http://evil]" in shown
    assert "{task.fields[x]}" in shown


def test_a_refusal_is_the_services_word(service: dict[str, tuple[int, bytes]]) -> None:
    service["/v1/x"] = told({"error": {"message": "no", "code": "why"}}, 404)
    with Service.of(Path()) as own, pytest.raises(Refused, match="no"):
        own.get("/x")
