"""Rows for tests that begin in the middle: a job that is queued has no need of a file's bytes."""

from typing import Any

from core import ids
from core.contract.job_spec import JobSpec
from core.contract.states import FileStatus, JobState
from core.db.engine import Session
from core.db.tables import File, Job, Model, Project


def judged_file(project: Project) -> File:
    return File(
        id=ids.file_id(),
        project_id=project.id,
        filename="pairs.jsonl",
        purpose="fine-tune",
        bytes=1,
        sha256="",
        object_key="",
        status=FileStatus.PROCESSED,
        canonical_digest=ids.row_id(),
    )


def make_job(session: Session, *, state: JobState, ranks: int = 1, **values: Any) -> Job:
    """A job of a model and a file of its own; of a project of its own, unless `project_id` names one."""
    project = session.get(Project, values.pop("project_id", None) or "") or Project(id=ids.row_id(), name=ids.row_id())
    session.add(project)
    session.flush()
    file = judged_file(project)
    model = Model(id=ids.row_id(), name="base", project_id=project.id, digest="d", prefix="models/d/", manifest={})
    session.add_all([file, model])
    session.flush()
    spec = JobSpec(model="base", training_file=file.id)
    values = {"training_digest": file.canonical_digest, **values}
    job = Job(
        id=ids.job_id(),
        project_id=project.id,
        spec=spec.model_dump(),
        seed=0,
        model_id=model.id,
        training_file=file.id,
        ranks=ranks,
        state=state,
        body_sha256="",
        **values,
    )
    session.add(job)
    session.flush()
    session.refresh(job)
    return job
