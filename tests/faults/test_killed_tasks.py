"""The validator, the inspector, or the task around them is killed: the task runs again, and the file is not blamed."""

import os
import signal
from pathlib import Path

import pytest

from core.contract.states import FileStatus, JobState, TaskKind, TaskState
from core.db.engine import transaction
from core.db.tables import Task
from core.objects.store import Store
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.test_tasks import GOOD, Upload, file_of, left_validation
from tests.integration.worker.test_tasks import upload as upload  # a fixture
from tests.waiting import until


def kill_one(scratch: Path, *words: str) -> None:
    """SIGKILL to the first process of this node whose command holds all these words."""

    def look() -> bool:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ours = os.fsencode(scratch) in (folder / "environ").read_bytes()
            except OSError:
                continue
            if ours and all(word in command for word in words):
                os.kill(int(folder.name), signal.SIGKILL)
                return True
        return False

    until(look, f"a process of {words}", 30, every=0.01)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_each_process_of_a_task_may_be_killed(
    whole: bool, started: StartWorker, upload: Upload, store: Store, tmp_path: Path
) -> None:
    """`whole`: with the process that holds the lease, which is waited for then: 6 s at this scale."""
    started()
    job = upload(GOOD)
    scratch = tmp_path / "scratch"
    if whole:
        kill_one(scratch, "worker.task", TaskKind.VALIDATE_FILE)
    kill_one(scratch, "worker.validate", "--source")
    kill_one(scratch, "trainer inspect")
    assert left_validation(job).state != JobState.FAILED
    assert file_of(job).status == FileStatus.PROCESSED
    with transaction() as session:
        tasks = {task.kind: task for task in session.query(Task).all()}
    validated, inspected = tasks[TaskKind.VALIDATE_FILE], tasks[TaskKind.INSPECT]
    # At least: a machine with both cores taken may let a lease of 6 s lapse once more.
    assert validated.state == inspected.state == TaskState.DONE
    assert validated.epoch >= (3 if whole else 2)
    assert inspected.epoch >= 2
    assert_whole(store, ["files/", "canonical/", "models/"])
