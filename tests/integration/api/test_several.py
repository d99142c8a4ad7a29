"""Several API processes on one port (PALATE_PROCESSES)."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from api.several import LIVES_SECONDS
from core import processes
from tests.conftest import ROOT
from tests.integration.api.conftest import Server, serve, until

TWO = {"PALATE_PROCESSES": "2"}


def serving(server: Server) -> list[int]:
    """The processes behind the port."""
    parent = server.process.pid
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_each_of_them_answers(environment: dict[str, str], tmp_path: Path) -> None:
    with serve({**environment, **TWO}, tmp_path / "log") as server:
        pids = serving(server)
        assert len(pids) == 2
        for pid in pids:
            with frozen(pid):
                assert httpx.get(f"{server.url}/healthz", timeout=10).status_code == 200


def test_one_that_dies_is_followed_by_another(environment: dict[str, str], tmp_path: Path) -> None:
    with serve({**environment, **TWO}, tmp_path / "log") as server:
        killed, kept = map(processes.of, serving(server))
        until(lambda: seconds(killed) > LIVES_SECONDS, 30)
        killed.kill()
        assert httpx.get(f"{server.url}/healthz", timeout=10).status_code == 200
        until(lambda: len({*serving(server)} - {killed.pid}) == 2)
        assert kept.alive()
        with frozen(kept.pid):
            assert httpx.get(f"{server.url}/healthz", timeout=30).status_code == 200
        assert f"API process {killed.pid} ended by itself (-9)" in (tmp_path / "log").read_text()


def seconds(process: processes.Process) -> float:
    """It lives."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - process.start_time / os.sysconf("SC_CLK_TCK")


def test_two_that_die_young_take_none_along(environment: dict[str, str], tmp_path: Path) -> None:
    with serve({**environment, **TWO}, tmp_path / "log") as server:
        first, kept = map(processes.of, serving(server))
        until(lambda: seconds(kept) > LIVES_SECONDS, 30)
        seen = {first.pid, kept.pid}
        first.kill()
        for _ in range(2):
            until(lambda: len({*serving(server)} - seen) == 1)
            young = next(processes.of(pid) for pid in serving(server) if pid not in seen)
            seen.add(young.pid)
            young.kill()
            assert processes.wait(young, 10)
            assert httpx.get(f"{server.url}/healthz", timeout=10).status_code == 200
        until(lambda: len({*serving(server)} - seen) == 1)
        assert kept.alive()
        with frozen(kept.pid):
            assert httpx.get(f"{server.url}/healthz", timeout=30).status_code == 200


def test_none_outlives_the_one_that_made_them(environment: dict[str, str], tmp_path: Path) -> None:
    """Else the port would stay taken."""
    with serve({**environment, **TWO}, tmp_path / "log") as server:
        made = [processes.of(pid) for pid in serving(server)]
        server.process.kill()
        assert all(processes.wait(each, 10) for each in made)
        until(lambda: free(server.port))


def free(port: int) -> bool:
    """A successor may have it; a connection to one that is just closed may still be reset."""
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_who_cannot_start_is_not_started_for_ever(environment: dict[str, str], tmp_path: Path) -> None:
    without = {name: value for name, value in {**os.environ, **environment, **TWO}.items() if name != "DATABASE_URL"}
    command = [sys.executable, "-m", "api", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "database_url" in done.stderr.lower()
    assert done.stderr.count("ended by itself (3)") in (1, 2)
