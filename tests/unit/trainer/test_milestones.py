"""When a request to stop is heeded while a checkpoint is exported."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.contract.run_spec import RunSpec, Settings
from trainer.course import Progress
from trainer.emit import Emitter
from trainer.milestones import LOOK_EVERY, Milestones
from trainer.stop import StopRequested
from trainer.world import World


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
        data=SimpleNamespace(train=[1]),
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
