"""Which checkpoints of a job stay, and which one its next attempt has only to verify."""

from collections.abc import Iterator

import pytest

from core.contract.manifest import FileEntry, Manifest
from core.contract.states import JobState
from core.db import checkpoints
from core.db.checkpoints import VERIFIED
from core.db.engine import Session, engine
from core.db.tables import Checkpoint, Job
from core.objects import keys
from tests.rows import make_job

MANIFEST = Manifest(files=[FileEntry(path="model.safetensors", bytes=1, sha256="0" * 64)])
PROOF = {"sums": [1.0]}


@pytest.fixture
def session(service: dict[str, str]) -> Iterator[Session]:
    """A transaction that never commits."""
    with Session(engine()) as opened:
        yield opened


@pytest.fixture
def job(session: Session) -> Job:
    return make_job(session, state=JobState.RUNNING)


def commit(session: Session, job: Job, epoch: int, step: int, accuracy: float, proof: object = None) -> None:
    checkpoints.commit(
        session,
        job,
        epoch=epoch,
        step=step,
        prefix=keys.checkpoint(job.id, epoch, step),
        manifest=MANIFEST,
        metrics={"eval/rewards/accuracies": accuracy},
        proof=proof,  # type: ignore[arg-type]
    )


def steps(session: Session, job: Job) -> list[int]:
    return [row.step for row, _ in checkpoints.page(session, job.id, None, 10)[0]]


def test_the_last_checkpoint_is_the_newest_though_a_lost_attempt_had_come_further(session: Session, job: Job) -> None:
    """Its time was over before it came to the step that the attempt before had reached."""
    for step, accuracy in ((20, 0.9), (30, 0.1)):
        commit(session, job, 1, step, accuracy)
    commit(session, job, 2, 22, 0.1, proof=PROOF)
    checkpoints.prune(session, job.id, 1)
    assert steps(session, job) == [22, 20], "the newest, and the best"
    assert checkpoints.newest(session, job.id)[0].step == 22  # type: ignore[index]


def test_the_best_is_none_that_was_refused(session: Session, job: Job) -> None:
    for step, accuracy in ((10, 0.5), (20, 0.6), (30, 0.9)):
        commit(session, job, 1, step, accuracy)
    rows = session.query(Checkpoint).filter_by(job_id=job.id).order_by(Checkpoint.step).all()
    assert [row.step for row in checkpoints.best(rows)] == [30]
    checkpoints.verified(session, job.id, 30, passed=False)
    assert [row.step for row in checkpoints.best(rows)] == [20]
    checkpoints.verified(session, job.id, 30, passed=True)
    assert [row.step for row in checkpoints.best(rows)] == [30]


def test_what_is_only_to_be_verified(session: Session, job: Job) -> None:
    commit(session, job, 1, 10, 0.5)
    assert checkpoints.finished(session, job.id) is None
    checkpoints.prove(session, job.id, 10, PROOF)
    found = checkpoints.finished(session, job.id)
    assert found is not None
    checkpoint, model = found
    assert (checkpoint.step, checkpoint.proof, VERIFIED in checkpoint.metrics) == (10, PROOF, False)
    assert model.name.endswith(":ckpt-step-10")
    checkpoints.drop_resume_points(session, job.id)
    assert checkpoints.finished(session, job.id) is None
    assert steps(session, job) == [10], "of the proof alone nothing is left"
