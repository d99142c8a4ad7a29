"""A fork of the nursery is what a process of its own would be; one that died is not missed; it ends with its worker."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import processes
from tests.conftest import ROOT
from tests.waiting import until
from worker.spawn import Nursery


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """One that takes connections and never answers: what is started lives until it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://a:b@127.0.0.1:{listener.getsockname()[1]}/none")
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
        monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("S3_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "b")
        monkeypatch.chdir(ROOT)
        yield listener


@pytest.fixture
def nursery(database: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("PALATE_SCRATCH", str(tmp_path))
    made = Nursery()
    made.make(tmp_path / "nursery.log")
    yield made
    made.close()


def found(folder: Path, *words: str) -> dict[int, list[str]]:
    """pid and command of each process that has this folder in its environment and these words in its command."""
    commands = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command = (each / "cmdline").read_text().replace("\0", " ")
            if os.fsencode(folder) in (each / "environ").read_bytes() and all(word in command for word in words):
                commands[int(each.name)] = command.split()
        except OSError:
            continue
    return commands


def started(folder: Path, *words: str) -> int:
    return next(iter(until(lambda: found(folder, *words), f"a process of {words}", 30)))


def test_a_fork_is_a_process_of_its_own(nursery: Nursery, tmp_path: Path) -> None:
    words = ("task", "1", "owner", "validate_file", "file-1")
    nursery.start("worker.task", *words, log=tmp_path / "logs" / "tasks.log")
    pid, parent = started(tmp_path, "worker.task", "file-1"), started(tmp_path, "worker.nursery")
    assert found(tmp_path, "file-1")[pid] == [sys.executable, "-m", "worker.task", *words]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) == parent
    assert int(fields[3]) == pid, "the leader of its session"
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    assert os.readlink(f"/proc/{pid}/fd/2") == str(tmp_path / "logs" / "tasks.log")
    processes.of(pid).kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), "its end, reaped by nobody", 5)
    assert processes.of(parent).alive()


def test_what_a_fork_breaks_is_in_its_log_and_its_own(nursery: Nursery, tmp_path: Path) -> None:
    for number in (1, 2):
        log = tmp_path / f"{number}.log"
        nursery.start("worker.supervisor", "job", "no number", "owner", log=log)
        until(lambda log=log: log.exists() and "ValueError: invalid literal" in log.read_text(), "its words", 30)
    assert len(found(tmp_path, "worker.nursery")) == 1


def test_one_that_died_is_not_missed(nursery: Nursery, tmp_path: Path) -> None:
    first = processes.of(started(tmp_path, "worker.nursery"))
    first.kill()
    assert processes.wait(first, 10)
    log = tmp_path / "log"
    nursery.start("worker.supervisor", "job", "no number", "owner", log=log)
    until(lambda: log.exists() and "ValueError: invalid literal" in log.read_text(), "its words", 30)
    nursery.make(tmp_path / "nursery.log")
    assert started(tmp_path, "worker.nursery") != first.pid


def test_it_ends_with_its_worker_and_its_forks_do_not(database: socket.socket, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from worker.spawn import Nursery; one = Nursery()\n"
        "one.make(Path(sys.argv[1])); one.start('worker.task', 'a', '1', 'b', 'validate_file', 'file-2',"
        " log=Path(sys.argv[1])); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, env={**os.environ, "PALATE_SCRATCH": str(tmp_path)}
    ) as worker:
        nursery = processes.of(started(tmp_path, "worker.nursery"))
        fork = processes.of(started(tmp_path, "-m worker.task", "file-2"))
        worker.kill()
    assert processes.wait(nursery, 10)
    assert fork.alive()
    fork.kill()
