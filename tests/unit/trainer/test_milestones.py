"""When a request to stop is heeded while a checkpoint is exported; what is said while training waits."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.contract.run_spec import RunSpec, Settings
from core.contract.trainer_events import Step, parse_event
from tests.waiting import until
from trainer import checkpoint
from trainer.course import Progress
from trainer.emit import Emitter
from trainer.milestones import LOOK_EVERY, Milestones
from trainer.stop import StopRequested
from trainer.world import World
from worker.pace import Pace


@pytest.fixture
def milestones(tmp_path: Path) -> Milestones:
    """Of a run of one rank, without its engine."""
    spec = RunSpec(
        run_id="r",
        workspace=tmp_path,
        model_dir=tmp_path,
        model_digest="m",
        train_data=tmp_path,
        train_digest="t",
        settings=Settings(),
    )
    course = SimpleNamespace(
        spec=spec,
        world=World(0, 1, torch.device("cpu"), None),
        emitter=Emitter(tmp_path, 0),
        data=SimpleNamespace(train=[1], digest="d"),
        total=100,
        progress=Progress(),
    )
    return Milestones(course)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "final", "leaves"),
    [("cancel", False, True), ("cancel", True, True), ("drain", True, True), ("drain", False, False)],
)
def test_a_drain_lets_a_checkpoint_in_the_middle_be_finished(
    milestones: Milestones, tmp_path: Path, word: str, final: bool, leaves: bool
) -> None:
    """Whoever goes on from the resume point would not come to it again; the final one is made again as a whole."""
    (tmp_path / "stop").write_text(word)
    tick = milestones.exporting(final)
    tick(1, 100)
    if leaves:
        with pytest.raises(StopRequested, match=word):
            tick(LOOK_EVERY, 100)
    else:
        tick(LOOK_EVERY, 100)


def test_rank_0_alone_heeds_while_it_verifies(milestones: Milestones, tmp_path: Path) -> None:
    milestones.heed_alone()
    (tmp_path / "stop").write_text("cancel")
    with pytest.raises(StopRequested, match="cancel"):
        milestones.heed_alone()


def test_to_wait_for_room_is_no_hang(milestones: Milestones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes its time: the trainer has said so before it waits, and the worker's clock runs on by 400 s."""
    gate, saved = threading.Event(), threading.Event()
    background = milestones.background
    background.submit(lambda: gate.wait(30) and None, 1)
    background.submit(lambda: None, 1 << 40)  # more than may wait

    def save(*arguments: object) -> None:
        background.room()
        saved.set()

    monkeypatch.setattr(checkpoint, "save", save)
    milestones.course.layout = "padded"
    milestones.course.engine = milestones.course.reference = None  # type: ignore[assignment]
    training = threading.Thread(target=milestones.after_step, kwargs={"resume_point": True, "last": False})
    milestones.course.progress.step = 4
    milestones.eval_every = milestones.checkpoint_every = 100
    pace = Pace(300.0, 1800.0)
    speed = {"pairs_per_second": 1.0, "eta_seconds": 1.0}
    pace.take(Step(time=1.0, step=4, total_steps=100, epoch=0.0, metrics={}, tokens=1, **speed))
    told = tmp_path / "events.jsonl"
    training.start()
    try:
        until(told.exists, "a word")
        assert not saved.is_set()
        for line in told.read_text().splitlines():
            pace.take(parse_event.validate_json(line))
        assert pace.hangs(time.monotonic() + 400) == 0.0
        assert pace.hangs(time.monotonic() + 1900) > 0.0
    finally:
        gate.set()
        training.join(30)
    assert saved.is_set()
    for line in told.read_text().splitlines():
        pace.take(parse_event.validate_json(line))
    assert pace.hangs(time.monotonic() + 400) > 0.0, "and from then on it trains"
