"""The kill storm in small: the whole service, the scripted trainer, a few kills; each row and byte is looked at."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("lives")


@pytest.mark.timeout(600)
def test_a_small_storm_loses_and_doubles_nothing() -> None:
    command = [sys.executable, "-m", "tests.storm", "--kills", "5", "--seed", "3", "--scripted"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("GOOD: 5 kills, ")
