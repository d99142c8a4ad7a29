"""Every object that a row of the database promises: its key, size and, where a row knows it, its sha256.

And which others are in order all the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.contract.manifest import Manifest
from core.contract.states import TaskKind, TaskState
from core.db.tables import Attempt, File, Intake, Job, Model, RankLog, ReferenceEntry, ResumePoint, Task

ROWS = 500
COLLECT = TaskKind.COLLECT_ORPHANS


@dataclass(frozen=True)
class Promised:
    """`bytes` and `sha256` None: not known. `by`: whose row it is."""

    key: str
    bytes: int | None
    sha256: str | None
    by: str


def promised(session: Session, canonical_key: Callable[[str], str]) -> Iterator[Promised]:
    """Of all rows that are not deleted; an object of several rows more than once. `canonical_key`: by digest."""
    files = select(File).where(File.deleted_at.is_(None))
    for file in session.scalars(files.execution_options(yield_per=ROWS)):
        yield Promised(file.object_key, file.bytes, file.sha256, f"file {file.id}")
        if file.canonical_digest:
            yield Promised(canonical_key(file.canonical_digest), None, None, f"file {file.id}")
    for model in session.scalars(select(Model).where(Model.deleted_at.is_(None)).execution_options(yield_per=ROWS)):
        yield from of_folder(model.prefix, model.manifest, f"model {model.name}")
    for point in session.scalars(select(ResumePoint).execution_options(yield_per=ROWS)):
        yield from of_folder(point.prefix, point.manifest, f"resume point {point.job_id} step {point.step}")
    for entry in session.scalars(select(ReferenceEntry).execution_options(yield_per=ROWS)):
        yield Promised(entry.object_key, entry.bytes, entry.sha256, f"reference entry {entry.id}")


def named(session: Session, job_id: str, prefix: str) -> set[str]:
    """The objects below an attempt's prefix that a row names; all such rows are its job's, or its project's."""
    job = session.get_one(Job, job_id)
    keys: set[str] = set()
    for model in session.scalars(select(Model).where(Model.job_id == job_id, Model.deleted_at.is_(None))):
        keys |= {each.key for each in of_folder(model.prefix, model.manifest, "")}
    for point in session.scalars(select(ResumePoint).where(ResumePoint.job_id == job_id)):
        keys |= {each.key for each in of_folder(point.prefix, point.manifest, "")}
    files = select(File.object_key).where(File.project_id == job.project_id, File.deleted_at.is_(None))
    entries = select(ReferenceEntry.object_key).where(ReferenceEntry.project_id == job.project_id)
    keys |= set(session.scalars(files.where(File.object_key.startswith(prefix, autoescape=True))))
    keys |= set(session.scalars(entries.where(ReferenceEntry.object_key.startswith(prefix, autoescape=True))))
    return {key for key in keys if key.startswith(prefix)}


@dataclass(frozen=True)
class Awaited:
    """What is no orphan though no row names its objects: they are under way, or somebody removes them.

    subjects: keys and folders; attempts: open, or to be looked through; logs: kept of these attempts; canonical:
    digests of records.
    """

    subjects: set[str]
    attempts: set[tuple[str, int]]
    logs: set[tuple[str, int]]
    canonical: set[str]


def awaited(session: Session) -> Awaited:
    live = Task.state.in_((TaskState.QUEUED, TaskState.RUNNING))
    collected = [task.payload for task in session.scalars(select(Task).where(live, Task.kind == COLLECT))]
    deleted = session.scalars(select(Task).where(live, Task.kind == TaskKind.DELETE_OBJECTS)).all()
    still = session.scalars(select(Attempt).where(Attempt.ended_at.is_(None)))
    kept = session.execute(select(RankLog.job_id, RankLog.epoch).distinct())
    return Awaited(
        subjects={task.subject for task in deleted} | set(session.scalars(select(Intake.object_key))),
        attempts={(each.job_id, each.epoch) for each in still}
        | {(each["job_id"], each["epoch"]) for each in collected if "job_id" in each},
        logs={(row.job_id, row.epoch) for row in kept},
        canonical={
            digest
            for payload in (*collected, *(task.payload for task in deleted))
            if (digest := payload.get("canonical_digest"))
        },
    )


def of_folder(prefix: str, manifest: dict[str, object], by: str) -> Iterator[Promised]:
    for file in Manifest.model_validate(manifest).files:
        yield Promised(prefix + file.path, file.bytes, file.sha256, by)
