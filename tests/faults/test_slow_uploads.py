"""Uploads that take longer than two intervals between resume points: they are stored all the same, one by one."""

from pathlib import Path

import pytest
from sqlalchemy import select

from core.contract import manifest as manifests
from core.contract.job_spec import JobSpec
from core.contract.run_spec import Inspection
from core.contract.states import JobState
from core.db import admission, jobs
from core.db.engine import transaction
from core.db.tables import Job, Model, ResumePoint
from core.objects import keys
from core.objects.store import Store
from core.queue import ring
from tests.faults.conftest import StartWorker, assert_whole
from tests.integration.worker.conftest import job_row
from tests.integration.worker.test_attempts import finished
from tests.launch import alone
from tests.lying_store import LyingStore
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from tests.rows import make_job
from tests.waiting import until

# Of each piece of an upload: longer than a step, so that a point's is longer than many.
DELAY_SECONDS = 0.3
SETTINGS = {"batch_size": 2, "n_epochs": 50, "max_steps": 2000, "learning_rate": 1e-4}


@pytest.fixture
def real_job(service: dict[str, str], store: Store, tmp_path: Path) -> str:
    """For the real trainer, on two ranks: their seven files are not opened all at once (core.objects.store.AT_ONCE)."""
    folder = make_tiny_model(tmp_path / "model")
    manifest = manifests.build(folder)
    store.upload_folder(folder, manifest, keys.model(manifest.digest()))
    digest = write_records(tmp_path / "train.zst", make_records(80))
    store.put_stream(keys.canonical(digest), [(tmp_path / "train.zst").read_bytes()])
    with transaction() as session:
        job = make_job(session, state=JobState.QUEUED, ranks=2, training_digest=digest)
        model = session.get_one(Model, job.model_id)
        model.digest, model.prefix = manifest.digest(), keys.model(manifest.digest())
        model.manifest = manifest.model_dump()
        spec = JobSpec.model_validate(
            {
                "model": "base",
                "training_file": job.training_file,
                "method": {"type": "dpo", "dpo": {"hyperparameters": SETTINGS}},
                "palate": {"checkpoint": {"every_steps": 2000}, "eval": {"split": 0}},
            }
        )
        job.spec = spec.model_dump()
        payload = admission.inspection_of(job.project_id, digest, model, spec.dpo(), "sigmoid")
        inspection = Inspection(records=80, usable=80, max_length=64, context_length=256)
        admission.store_inspection(session, admission.inspection_key(payload), inspection)
        return job.id


@pytest.mark.slow
@pytest.mark.xdist_group("ranks")
def test_resume_points_are_stored_however_slowly(
    started: StartWorker, lying: LyingStore, real_job: str, store: Store
) -> None:
    """One after each step, if it went by the steps alone: each would be dropped while the one before is on its way."""
    more = {"PALATE_TRAINER_COMMAND": "", "PALATE_RESUME_STEPS": "1", "PALATE_RESUME_SPACING": "0"}
    lying.delay(DELAY_SECONDS)
    seen: dict[int, int] = {}

    def three() -> bool:
        with transaction() as session:
            job = session.get_one(Job, real_job)
            assert job.state in (JobState.QUEUED, JobState.RUNNING), job.error
            steps = session.scalars(select(ResumePoint.step).where(ResumePoint.job_id == real_job)).all()
            seen.update({step: (job.progress or {})["step"] for step in steps if step not in seen})
        return len(seen) >= 3

    with alone():
        started(S3_ENDPOINT_URL=lying.url, OMP_NUM_THREADS="1", **more)
        ring()
        until(lambda: (job_row(real_job).progress or {}).get("step", 0) >= 1, "the first step", 120)
        until(three, "three resume points", 60)
        with transaction() as session:
            jobs.cancel(session, job_row(real_job).project_id, real_job)
        assert finished(real_job) == JobState.CANCELLED
    assert job_row(real_job).epoch == 1
    late = [now - step for step, now in seen.items()]
    assert min(late) > 2, f"stored {late} steps later: not slower than two intervals"
    lying.heal()
    assert_whole(store)
