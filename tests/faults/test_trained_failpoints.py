"""A kill at each point of the real trainer, of what starts it, and of what is learned from it: the same weights."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.live import Live, triples
from tests.faults.failpoints import trained
from tests.launch import alone
from tests.models import make_tiny_model
from tests.storm.victims import present
from tests.unit.test_house_rules import sources
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("ranks")
STEPS = 16
SETTINGS = {"batch_size": 8, "n_epochs": 50, "max_steps": STEPS, "learning_rate": 1e-4}
MEASURED = [f"worker.node_facts:measured:{moment}" for moment in ("committing", "committed")]
PRUNED = "trainer.checkpoint:prune:rename"
OTHERS = sorted(trained(sources()) - {*MEASURED, PRUNED})


@pytest.fixture
def points(tmp_path: Path) -> Path:
    folder = tmp_path / "points"
    folder.mkdir()
    return folder


@pytest.fixture
def live(tmp_path: Path, points: Path) -> Iterator[Live]:
    """A resume point after each step, from the node's warm trainer."""
    more = {"PALATE_RESUME_STEPS": "1", "PALATE_INFRA_ATTEMPTS": "1000", "PALATE_BACKOFF_SECONDS": "1"}
    made = Live(tmp_path / "home", **more, PALATE_LAUNCHER="warm", PALATE_FAILPOINTS=str(points))
    with alone():
        made.start()
        made.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
        try:
            yield made
        finally:
            made.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_at_each_point_of_the_trainer_changes_no_bit(live: Live, points: Path) -> None:
    def killed(*names: str) -> bool:
        return all((points / f"{name}#killed").exists() for name in names)

    warmed = live.home / "scratch" / "logs" / "warm.log"  # until then starts are cold, which pass other points
    until(lambda: warmed.exists() and "is warm" in warmed.read_text(), "the warm trainer", 120)
    file = live.user.upload(triples(80))
    live.user.judged(file)
    undisturbed = live.user.create("tiny", file, 2, **SETTINGS)
    live.user.succeeded(undisturbed)
    assert {*OTHERS, *MEASURED} - {path.name for path in points.iterdir()} == set()
    wanted = live.user.weights(undisturbed)

    for names in (OTHERS, *([name] for name in MEASURED)):
        for name in names:
            (points / f"{name}#1").touch()
        job = live.user.create("tiny", file, 2, **SETTINGS)
        assert live.user.succeeded(job, 300)["palate"]["attempt"]["number"] > 1
        assert killed(*names), [name for name in names if not killed(name)]
        assert live.user.weights(job) == wanted

    # Only where the worker cannot keep up does the trainer drop resume points itself: the store stands still.
    (points / f"{PRUNED}#1").touch()
    job = live.user.create("tiny", file, 2, **{**SETTINGS, "max_steps": STEPS * 4})
    until(lambda: live.user.step(job) >= 1, "the first step", 60)
    store = present(live.home, live.process.pid)["store"][0].pid
    os.kill(store, signal.SIGSTOP)
    try:
        until(lambda: killed(PRUNED), "the trainer to drop a resume point", 60)
    finally:
        os.kill(store, signal.SIGCONT)
    live.user.succeeded(job, 200)
    longer = live.user.create("tiny", file, 2, **{**SETTINGS, "max_steps": STEPS * 4})
    live.user.succeeded(longer, 200)
    assert live.user.weights(job) == live.user.weights(longer)
    live.palate("doctor", "--read")
