"""`palate up` as one process: what it starts, keeps, refuses, stops and leaves. None of it needs training."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.e2e.live import Live, interruptible, processes_of, triples
from tests.waiting import until

GONE_SECONDS = 5.0
BACK_SECONDS = 30.0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path / "home")
    made.start()
    yield made
    made.user.close()
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    until(lambda: not left_of(made.home), "the end of every process of this home", GONE_SECONDS)


def left_of(home: Path) -> list[str]:
    """All that names the home or works in it: PostgreSQL's own children only do the latter."""
    found = processes_of(home)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if (folder / "cwd").resolve().is_relative_to(home):
                    found[int(folder.name)] = (folder / "comm").read_text().strip()
    return list(found.values())


def child(home: Path, of: str) -> int | None:
    """The pid of the child whose command holds this word."""
    return next((pid for pid, command in processes_of(home).items() if of in command), None)


def ready(live: Live) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(live.url.removesuffix("/v1") + "/readyz", timeout=5).status_code == 200
    return False


def files(live: Live) -> list[str]:
    with contextlib.suppress(httpx.TransportError):
        answer = live.user.http.get("/files")
        if answer.status_code == 200:
            return [file["id"] for file in answer.json()["data"]]
    return []


def test_it_serves_alone_and_keeps_its_children(live: Live) -> None:
    connection = live.home / "connection.json"
    assert connection.stat().st_mode & 0o777 == 0o600
    assert ready(live)
    assert live.url.startswith("http://127.0.0.1:")
    told = live.log.read_text()
    assert live.url in told
    assert str(connection) in told
    assert live.user.token not in told

    second = live.palate("up", good=False)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"(process {live.process.pid})" in second.stderr
    assert connection.exists()

    uploaded = live.user.upload(triples(20))
    for word in ("-m api", "celery", "/weed ", "valkey-server", "/postgres "):
        victim = child(live.home, word)
        assert victim is not None, word
        os.kill(victim, signal.SIGKILL)
        until(lambda was=victim, of=word: child(live.home, of) not in (None, was), f"another {word}", BACK_SECONDS)
        until(lambda: ready(live) and files(live) == [uploaded], f"service after {word} died", BACK_SECONDS)
    assert live.user.judged(uploaded)["status"] == "processed"
    assert live.process.poll() is None


def test_a_stopped_home_leaves_nothing_and_finds_all_again(live: Live) -> None:
    uploaded, url, token = live.user.upload(triples(20)), live.url, live.user.token
    live.user.judged(uploaded)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(60) == 0, live.log.read_text()
    assert left_of(live.home) == []
    assert not (live.home / "connection.json").exists()
    live.user.close()

    live.home.chmod(0o755)
    (live.home / "up.json").chmod(0o644)
    live.start()
    assert f"{live.home / 'up.json'} could be read by other users of this machine until now" in live.log.read_text()
    assert (live.home.stat().st_mode & 0o777, (live.home / "up.json").stat().st_mode & 0o777) == (0o700, 0o600)
    assert (live.url, live.user.token) == (url, token)
    assert files(live) == [uploaded]
    live.user.sdk.files.content(uploaded).close()

    live.palate("keys", "revoke", token)
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(60) == 0, live.log.read_text()
    live.user.close()
    live.start()
    assert live.user.token != token
    assert files(live) == [uploaded]


def test_killed_it_takes_everything_with_it_and_starts_again(live: Live) -> None:
    uploaded = live.user.upload(triples(2_000))  # its checks may be under way: a task is not a child
    live.process.kill()
    live.process.wait()
    until(lambda: not left_of(live.home), "the end of every process of this home", GONE_SECONDS)
    live.user.close()
    (live.home / "connection.json").unlink()  # a stale one, which `Live` would take for the new one
    live.start()
    assert files(live) == [uploaded]


def test_a_second_signal_stops_at_once(live: Live) -> None:
    """A request that hangs would hold the orderly stop for 20 seconds."""
    with httpx.Client(headers=live.user.http.headers) as client:

        def body() -> Iterator[bytes]:
            """Two signals before its second half."""
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            live.process.send_signal(signal.SIGTERM)
            until(lambda: "Stopping" in live.log.read_text(), "the first signal to be heard")
            live.process.send_signal(signal.SIGTERM)
            assert live.process.wait(10) == 130
            yield b"x"

        with contextlib.suppress(httpx.TransportError):
            client.post(
                f"{live.url}/files", content=body(), headers={"content-type": "multipart/form-data; boundary=b"}
            )
    assert live.process.wait(10) == 130
    assert left_of(live.home) == []
    assert not (live.home / "connection.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    made = Live(tmp_path / "home")
    with made.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up", "--home", str(made.home)],
            cwd=ROOT,
            env=made.environment,
            stdout=log,
            stderr=log,
            preexec_fn=interruptible,
        )
    until(lambda: (made.home / "postgres.new").exists() or child(made.home, "/weed "), "the parts being started")
    process.send_signal(number)
    assert process.wait(60) == 0, made.log.read_text()
    assert left_of(made.home) == []
    assert "Traceback" not in made.log.read_text()


def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    import socket

    made = Live(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = made.palate("up", "--port", str(port), good=False)
    assert refused.returncode == 1
    assert f"Port {port}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert left_of(made.home) == []
