"""When a resume point is due: one in flight, and so far apart as its own time asks."""

import os
import time
from pathlib import Path

import pytest

from core.contract.run_spec import RunSpec, Settings
from trainer.points import Points


def points(workspace: Path, spacing: float | None, *, steps: int = 2, seconds: float = 1e9) -> Points:
    spec = RunSpec(
        run_id="r",
        workspace=workspace,
        model_dir=workspace,
        model_digest="m",
        train_data=workspace,
        train_digest="t",
        settings=Settings(),
        resume_steps=steps,
        resume_seconds=seconds,
        resume_spacing=spacing,
    )
    return Points(spec, 0)


def named(workspace: Path, step: int, at: float | None = None) -> None:
    """What the worker does once it has stored the point of this step, or given it up."""
    path = workspace / "stored"
    path.write_text(str(step))
    if at is not None:
        os.utime(path, (at, at))


def test_whichever_comes_first(tmp_path: Path) -> None:
    assert [points(tmp_path, None).due(step) for step in (1, 2, 3)] == [False, True, True]
    assert points(tmp_path, None, seconds=0.0).due(1)


def test_where_nobody_stores_them_none_is_waited_for(tmp_path: Path) -> None:
    alone = points(tmp_path, None)
    alone.copied(2, time.time())
    assert [alone.due(step) for step in (3, 4)] == [False, True]


def test_none_is_due_while_one_is_in_flight(tmp_path: Path) -> None:
    watched = points(tmp_path, 0.0, seconds=0.0)
    assert watched.due(2), "of the first nobody has to hear"
    watched.copied(2, time.time())
    assert not any(watched.due(step) for step in range(3, 100))
    named(tmp_path, 2)
    assert watched.due(100)
    watched.copied(100, time.time())
    assert not watched.due(200), "an older one's name is not its own"
    named(tmp_path, 100)
    assert watched.due(200)


@pytest.mark.parametrize(("took", "due"), [(0.001, True), (60.0, False)])
def test_so_many_times_what_the_last_one_took_lies_between_two(tmp_path: Path, took: float, due: bool) -> None:
    watched, begun = points(tmp_path, 20.0), time.time()
    watched.copied(2, begun)
    named(tmp_path, 2, begun + took)
    deadline = time.monotonic() + 5
    while not watched.due(4) and due and time.monotonic() < deadline:
        continue
    assert watched.due(4) == due


def test_a_disk_whose_clock_is_behind_does_no_harm(tmp_path: Path) -> None:
    watched, begun = points(tmp_path, 20.0), time.time()
    watched.copied(2, begun)
    named(tmp_path, 2, begun - 5)
    assert watched.due(4)
