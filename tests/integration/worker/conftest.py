"""A real Celery worker with its sweeper, a real store, and jobs that the scripted trainer runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.contract import manifest as manifests
from core.contract.job_spec import DpoHyperparameters, JobSpec, PalateOptions
from core.contract.run_spec import Inspection
from core.contract.states import JobState
from core.db import admission
from core.db.engine import transaction
from core.db.tables import Job, Model
from core.objects import keys
from core.objects.store import Store
from preferences.canonical import CanonicalWriter
from tests.rows import make_job

ROOT = Path(__file__).resolve().parents[3]
Submit = Callable[..., str]


def worker_environment(service: dict[str, str], **more: str) -> dict[str, str]:
    return {
        **os.environ,
        **service,
        "PALATE_NODE": "n1",
        "PALATE_SLOTS": "2",
        "PALATE_TIME_SCALE": "0.1",
        "PALATE_TRAINER_COMMAND": f"{{python}} {ROOT}/tests/scripted_trainer.py --spec {{spec}}",
        **more,
    }


def start_worker(service: dict[str, str], log: Path, **more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "4"]
    name = f"{more.get('PALATE_NODE', 'n1')}@test"
    with log.open("ab") as output:
        return subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "-n", name],
            cwd=ROOT,
            env=worker_environment(service, **more),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@pytest.fixture
def worker(service: dict[str, str], tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = start_worker(service, tmp_path / "worker.log")
    yield process
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture
def submit(service: dict[str, str], store: Store, tmp_path: Path) -> Submit:
    """A queued job: files validated and inspected, bytes stored; `script` is what the scripted trainer shall do."""

    def queued(ranks: int = 1, palate: dict[str, Any] | None = None, **script: Any) -> str:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        manifest = manifests.build(folder)
        store.upload_folder(folder, manifest, keys.model(manifest.digest()))
        canonical = tmp_path / "canonical.zst"
        with canonical.open("wb") as stream:
            digest = CanonicalWriter(stream).close()
        store.put_stream(keys.canonical(digest), [canonical.read_bytes()])
        with transaction() as session:
            job = make_job(session, state=JobState.QUEUED, ranks=ranks, training_digest=digest)
            model = session.get_one(Model, job.model_id)
            model.digest, model.prefix = manifest.digest(), keys.model(manifest.digest())
            model.manifest = manifest.model_dump()
            spec = JobSpec(model="base", training_file=job.training_file)
            spec.palate = PalateOptions(probe_prompts=[json.dumps(script)], **palate or {})
            job.spec = spec.model_dump()
            payload = admission.inspection_of(job.project_id, digest, model, DpoHyperparameters(), "sigmoid")
            inspection = Inspection(records=20, usable=20, max_length=64, context_length=64)
            admission.store_inspection(session, admission.inspection_key(payload), inspection)
            return job.id

    return queued


def job_row(job_id: str) -> Job:
    with transaction() as session:
        return session.get_one(Job, job_id)
