"""A project whose jobs are queued as soon as they are created: file judged, model there, inspection stored."""

from dataclasses import dataclass

from sqlalchemy import text

from core import ids
from core.contract.job_spec import DpoHyperparameters, JobSpec, PalateOptions, Resources
from core.contract.manifest import FileEntry, Manifest
from core.contract.run_spec import Inspection
from core.db import admission, checkpoints, jobs, keys, submit
from core.db.attempts import Lease
from core.db.engine import Session, transaction
from core.db.tables import Model, Project, Table
from core.objects import keys as names
from tests.rows import judged_file
from worker import publisher

MANIFEST = Manifest(files=[FileEntry(path="model.safetensors", bytes=1, sha256="0" * 64)])


@dataclass(frozen=True)
class World:
    project_id: str
    project: str
    key_id: str
    file_id: str

    def create(self, key: str, ranks: int) -> str:
        """The id of the job that this request made, or had made."""
        options = PalateOptions(resources=Resources(gpus=ranks))
        spec = JobSpec(model="base", training_file=self.file_id, palate=options)
        with transaction() as session:
            job, _ = submit.create(
                session,
                project_id=self.project_id,
                key_id=self.key_id,
                spec=spec,
                body_sha256=f"{key} {ranks}",
                idempotency_key=key,
            )
            return job.id


def empty() -> World:
    """Nothing of an earlier world is left."""
    with transaction() as session:
        names_of_all = ", ".join(table.name for table in Table.metadata.sorted_tables)
        session.execute(text(f"TRUNCATE {names_of_all} CASCADE"))
        project = Project(id=ids.row_id(), name="world")
        session.add(project)
        session.flush()
        file = judged_file(project)
        model = Model(id=ids.row_id(), name="base", project_id=None, digest="d", prefix="models/d/", manifest={})
        session.add_all([file, model])
        session.flush()
        payload = admission.inspection_of(
            file.project_id, file.canonical_digest or "", model, DpoHyperparameters(), "sigmoid"
        )
        inspection = Inspection(records=20, usable=20, max_length=64, context_length=64)
        admission.store_inspection(session, admission.inspection_key(payload), inspection)
        return World(project.id, project.name, keys.create(session, project.id)[0].id, file.id)


def commit_resume_point(lease: Lease, step: int) -> None:
    """What the publisher does once the bytes are stored."""
    publisher.commit_resume_point(lease, 60, step, names.resume_point(lease.job_id, lease.epoch, step), MANIFEST)


def commit_model(session: Session, lease: Lease, step: int) -> None:
    """The last checkpoint and the job's own model, as in the transaction that closes a finished attempt."""
    job = jobs.locked(session, lease.job_id)
    prefix = names.checkpoint(lease.job_id, lease.epoch, step)
    model = checkpoints.commit(session, job, epoch=lease.epoch, step=step, prefix=prefix, manifest=MANIFEST, metrics={})
    checkpoints.commit_final(session, job, model, [])
