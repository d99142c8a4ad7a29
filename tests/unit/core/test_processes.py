"""Processes are known by pid and start time."""

import os
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
    mine.sign(tmp_path / "p.json")
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
        try:
            assert watcher.stdout.readline() == "watching\n"
            watched.kill()
            watched.wait()
            assert watcher.stdout.readline() == "it is gone\n"
            assert watcher.wait(5) == processes.ORPHANED
        finally:
            watcher.kill()


def test_a_fork_goes_by_its_own_name(tmp_path: Path) -> None:
    """However much longer than the first command; what the first was told is shown no more."""
    title = "a title of its own " + "x" * 300
    code = (
        "import os, sys, signal; from core import processes\n"
        "processes.rename(sys.stdin.readline().strip()); os.environ.clear(); print(flush=True); signal.pause()"
    )
    known = {**os.environ, "TOLD": "y" * 600}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=known
    ) as renamed:
        assert renamed.stdin is not None
        assert renamed.stdout is not None
        renamed.stdin.write(title + "\n")
        renamed.stdin.flush()
        renamed.stdout.readline()
        shown = Path(f"/proc/{renamed.pid}")
        assert (shown / "cmdline").read_text().rstrip("\0") == title
        assert "TOLD" not in (shown / "environ").read_text()
        renamed.kill()
