"""The child: its own end is noticed, its stop is in order, and nothing of it is left."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from demo import stack as stacks
from demo.stack import DemoFailed, Stack, tail
from tests.waiting import until


def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Stack:
    """One whose `palate` is that script."""
    program = tmp_path / "palate.py"
    program.write_text(textwrap.dedent(script))
    monkeypatch.setattr(stacks, "PALATE", (sys.executable, str(program)))
    made = Stack(tmp_path / "home")
    made.start()
    return made


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_stop_in_order_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up = stack(
        tmp_path,
        monkeypatch,
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print("started", flush=True)
        time.sleep(60)
        """,
    )
    until(lambda: tail(up.log), "the child's first line")
    assert up.child is not None
    pid = up.child.pid
    assert up.left() == [pid]
    assert up.stop() == []
    assert not alive(pid)
    assert up.stop() == []


def test_what_outlives_it_is_found_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "LEFT_SECONDS", 0.3)
    up = stack(
        tmp_path,
        monkeypatch,
        """
        import subprocess, sys, time
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(60)
        """,
    )
    orphan = int(until(lambda: tail(up.log), "the orphan's pid")[0])
    try:
        assert up.stop() == [orphan]
        until(lambda: not up.left(), "the orphan's end", seconds=10)
    finally:
        subprocess.run(["kill", "-9", str(orphan)], check=False, capture_output=True)


def test_a_service_that_ends_by_itself_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up = stack(tmp_path, monkeypatch, "print('palate: port is taken'); raise SystemExit(3)")
    with pytest.raises(DemoFailed, match=r"ended by itself \(exit code 3\)") as failed:
        up.wait_until_ready()
    assert tail(failed.value.log) == ["palate: port is taken"]
    assert up.stop() == []


def test_it_stops_when_the_demo_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "palate.py"
    program.write_text("import time; time.sleep(60)")
    demo = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from demo import stack
        stack.PALATE = (sys.executable, {str(program)!r})
        up = stack.Stack(Path({str(tmp_path / "home")!r}))
        up.start()
        print(up.child.pid, flush=True)
        time.sleep(60)
        """
    )
    running = subprocess.Popen([sys.executable, "-c", demo], stdout=subprocess.PIPE, cwd=Path.cwd())
    with running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        assert alive(pid)
        running.kill()
    until(lambda: not alive(pid) or state(pid) == "Z", "the child's end", seconds=10)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_command_works_on_this_home_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://another")
    program = tmp_path / "palate.py"
    program.write_text("import os, sys; print(sys.argv[1:], 'DATABASE_URL' in os.environ)")
    monkeypatch.setattr(stacks, "PALATE", (sys.executable, str(program)))
    home = tmp_path / "home"
    assert Stack(home).command("models", "add", "x").strip() == f"{['models', 'add', 'x', '--home', str(home)]} False"
    program.write_text("raise SystemExit('palate: no such folder')")
    with pytest.raises(DemoFailed, match="`palate models add` failed: palate: no such folder"):
        Stack(home).command("models", "add", "x")


def test_tail_of_nothing() -> None:
    assert tail(None) == tail(Path(os.devnull) / "none") == []


def test_waiting_ends_when_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "READY_SECONDS", 0.2)
    up = stack(tmp_path, monkeypatch, "import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(DemoFailed, match="not ready after 0 s"):
        up.wait_until_ready()
    assert time.monotonic() - began < 5
    assert up.stop() == []
