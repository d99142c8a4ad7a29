"""The parts themselves are stopped or killed under one run: it is not touched, and ends as if nothing had been."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.e2e.live import Live, processes_of, triples
from tests.models import make_tiny_model
from tests.storm.victims import CHILDREN, parent
from tests.waiting import until

pytestmark = [pytest.mark.xdist_group("ranks"), pytest.mark.slow]
STEPS = 240
SETTINGS = {"batch_size": 8, "n_epochs": 50, "max_steps": STEPS}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """With the scripted trainer. Leases of 20 s: a hung Postgres is left alone for 4 s."""
    command = f"{{python}} {ROOT}/tests/scripted_trainer.py --spec {{spec}}"
    made = Live(tmp_path / "home", PALATE_TRAINER_COMMAND=command, PALATE_TIME_SCALE="0.35")
    made.start()
    made.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
    try:
        yield made
    finally:
        made.stop()


def children(live: Live, words: str) -> list[int]:
    """The part's process, then those that it started itself."""
    found = processes_of(live.home)
    first = [pid for pid, command in found.items() if words in command and parent(pid) == live.process.pid]
    assert len(first) == 1, found
    return first + [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent(pid) == first[0]]


def create(live: Live, file: str, steps: int, seconds: float) -> str:
    body = {
        "model": "tiny",
        "training_file": file,
        "seed": 7,
        "method": {"type": "dpo", "dpo": {"hyperparameters": {**SETTINGS, "max_steps": steps}}},
        "palate": {"probe_prompts": [json.dumps({"steps": steps, "step_seconds": seconds})]},
    }
    answer = live.user.http.post("/fine_tuning/jobs", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


def goes_on(live: Live, job: str, lines: int = 8) -> None:
    """Whatever the API can say at this moment. A step of 0.2 s tells of itself in two to three lines."""
    events = live.attempts(job) / "a1" / "events.jsonl"
    before = events.read_text().count('"step"')
    until(lambda: events.read_text().count('"step"') > before + lines, "the training to go on", 20)


def served(live: Live) -> bool:
    try:
        return live.user.http.get("/files").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.timeout(600)
def test_no_part_takes_the_run_along(live: Live) -> None:
    file = live.user.upload(triples(40))
    live.user.judged(file)
    undisturbed = create(live, file, STEPS, 0.01)
    live.user.succeeded(undisturbed)
    job = create(live, file, STEPS, 0.2)
    until(lambda: live.user.step(job) >= 2, "two steps")
    for part in ("postgres", "celery"):
        stopped = children(live, CHILDREN[part])
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        goes_on(live, job, 50)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        until(lambda: served(live), f"the service after {part} stood still")
    for part, words in CHILDREN.items():
        os.kill(children(live, words)[0], signal.SIGKILL)
        goes_on(live, job)
        until(lambda: served(live), f"the service after {part} died")
    quick = create(live, file, 2, 0.01)
    live.user.succeeded(quick)
    done = live.user.succeeded(job)
    assert done["palate"]["attempt"]["number"] == 1, live.user.messages(job)
    assert live.user.weights(job) == live.user.weights(undisturbed)
    live.palate("doctor", "--read")
