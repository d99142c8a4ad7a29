"""What is made ahead is told once, replaced when it has died, and gone with its worker."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import until
from worker.standby import Standby

PROGRAM = """
import os, sys
from worker import standby
open("waiting", "w").write(str(os.getpid()))
print("told", standby.arguments(sys.argv[1:]), os.getpid(), flush=True)
"""


@pytest.fixture
def ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standby:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    return Standby("program")


def waiting(folder: Path) -> int:
    path = folder / "waiting"
    return int(until(lambda: path.exists() and path.read_text(), "the one that waits"))


def told(log: Path) -> str:
    return until(lambda: log.exists() and log.read_text().endswith("\n") and log.read_text(), "its words")


def test_the_one_that_waits_is_told(ahead: Standby, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ahead.make(log)
    pid = waiting(tmp_path)
    ahead.start("job", "1", log=log)
    assert told(log) == f"told ['job', '1'] {pid}\n"


def test_one_that_died_is_no_loss(ahead: Standby, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ahead.make(log)
    pid = waiting(tmp_path)
    subprocess.run(["kill", "-9", str(pid)], check=True)
    until(lambda: not Path(f"/proc/{pid}/fd/0").exists(), "its end")
    ahead.start("job", "2", log=log)
    assert told(log).startswith("told ['job', '2'] ")


def test_it_ends_with_its_worker(tmp_path: Path, ahead: Standby) -> None:
    code = "import sys; from pathlib import Path; from worker.standby import *; Standby('program').make(Path('log'))"
    subprocess.run([sys.executable, "-c", code + "; input()"], input=b"", check=False, capture_output=True)
    pid = waiting(tmp_path)
    until(lambda: not Path(f"/proc/{pid}/fd/0").exists(), "its end")
    assert (tmp_path / "log").read_text() == ""
