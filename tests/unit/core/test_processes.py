"""Processes are known by pid and start time."""

import subprocess
import sys
from pathlib import Path

from core import processes


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_another_process_under_the_same_pid_is_not_hit(tmp_path: Path) -> None:
    process = sleeper()
    real = processes.of(process.pid)
    other = processes.Process(process.pid, real.start_time - 1)
    assert not other.alive()
    assert processes.kill_all([other], 1)
    assert process.poll() is None
    assert processes.kill_all([real], 5)
    assert process.wait(5) == -9
    assert not real.alive()


def test_what_is_written_is_read_and_a_torn_record_is_none(tmp_path: Path) -> None:
    mine = processes.this_process()
    mine.write(tmp_path / "p.json")
    assert processes.read(tmp_path / "p.json") == mine
    (tmp_path / "torn.json").write_text('{"pid": 1')
    assert processes.read(tmp_path / "torn.json") is None
    assert processes.read(tmp_path / "absent.json") is None
    assert processes.parse(f"{mine.pid}:{mine.start_time}").alive()


def test_who_watches_another_ends_with_it(tmp_path: Path) -> None:
    """Although it has another parent, and something to say first."""
    watched = sleeper()
    code = (
        "import sys, signal; from core import processes\n"
        "processes.watch(processes.parse(sys.argv[1]), lambda: print('it is gone', flush=True))\n"
        "print('watching', flush=True); signal.pause()"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", code, str(processes.of(watched.pid))], stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout is not None
    with watcher:
        assert watcher.stdout.readline() == "watching\n"
        watched.kill()
        watched.wait()
        assert watcher.stdout.read() == "it is gone\n"
    assert watcher.returncode == processes.ORPHANED
