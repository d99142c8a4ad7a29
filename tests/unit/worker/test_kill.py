"""Processes are known by pid and start time."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker import kill
from worker.launcher import environment
from worker.ranklogs import masked
from worker.workspace import Workspace


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_another_process_under_the_same_pid_is_not_hit(tmp_path: Path) -> None:
    process = sleeper()
    real = kill.of(process.pid)
    other = kill.Process(process.pid, real.start_time - 1)
    assert not other.alive()
    assert kill.kill_all([other], 1)
    assert process.poll() is None
    assert kill.kill_all([real], 5)
    assert process.wait(5) == -9
    assert not real.alive()


def test_what_is_written_is_read_and_a_torn_record_is_none(tmp_path: Path) -> None:
    mine = kill.this_process()
    mine.write(tmp_path / "p.json")
    assert kill.read(tmp_path / "p.json") == mine
    (tmp_path / "torn.json").write_text('{"pid": 1')
    assert kill.read(tmp_path / "torn.json") is None
    assert kill.read(tmp_path / "absent.json") is None
    assert kill.parse(f"{mine.pid}:{mine.start_time}").alive()


def test_the_trainer_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PALATE_LIFELINE", "REDIS_URL", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    passed = environment(Workspace(tmp_path))
    assert "secret" not in passed.values()
    assert passed["CUDA_VISIBLE_DEVICES"] == "0"
    assert passed["HOME"] == str(tmp_path)


def test_key_shaped_text_is_masked() -> None:
    assert masked("key plt_abc123_0123456789abcdef end") == "key plt_abc123_*** end"
