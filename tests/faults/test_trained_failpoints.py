"""A kill at each point of the real trainer, of what starts it, and of what is learned from it: the same weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.contract import manifest
from core.contract.run_spec import ResumeFrom, RunSpec, Settings
from tests.e2e.live import Live, triples
from tests.faults.failpoints import trained
from tests.launch import PATIENCE, Run, alone
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from tests.trajectory.conftest import weights
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
    live.palate("doctor", "--read")


@pytest.mark.slow
def test_a_kill_of_a_run_by_hand_that_drops_its_oldest_resume_point(
    tmp_path: Path, points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker nobody stores them: the trainer keeps the newest two, and those are whole."""
    spec = RunSpec(
        run_id="by-hand",
        workspace=tmp_path / "straight",
        model_dir=make_tiny_model(tmp_path / "model"),
        model_digest="tiny",
        train_data=tmp_path / "train.zst",
        train_digest=write_records(tmp_path / "train.zst", make_records(40)),
        settings=Settings(learning_rate=1e-4, batch_size=8, max_steps=5),
        resume_steps=1,
    )

    def run(name: str, **update: Any) -> Run:
        return Run(spec.model_copy(update={"workspace": tmp_path / name, **update}))

    with alone():
        straight = run("straight")
        assert straight.code() == 0, straight.logs()
        (points / f"{PRUNED}#1").touch()
        monkeypatch.setenv("PALATE_FAILPOINTS", str(points))
        cut = run("cut")
        cut.process.wait(PATIENCE)
        assert (points / f"{PRUNED}#killed").exists(), cut.logs()
        left = sorted(path.name for path in (tmp_path / "cut" / "resume").iterdir())
        assert left[:3] == ["step-1.tmp", "step-2", "step-3"]
        newest = tmp_path / "cut" / "resume" / "step-3"
        found = manifest.read(newest)
        manifest.verify(newest, found)
        rest = run("rest", resume_from=ResumeFrom(path=newest, manifest_digest=found.digest()))
        assert rest.code() == 0, rest.logs()
    assert weights(tmp_path / "rest", 5) == weights(tmp_path / "straight", 5)
