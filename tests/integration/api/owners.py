"""Three projects that each have one of everything that a route can name, and what every answer must leave as it was."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import text

from core import ids
from core.contract.manifest import FileEntry, Manifest
from core.contract.states import JobState
from core.db import checkpoints, events, files, keys, metrics, models, projects, rank_logs
from core.db.engine import transaction
from core.db.tables import Attempt, Checkpoint, Job, Table
from core.objects.store import Store
from tests.rows import make_job
from tests.unit.planning.known import MODEL
from tests.unit.preferences.page.reports import full

PATH = "config.json"


@dataclass(frozen=True)
class Owner:
    """`names` by kind: what routes are asked with. `rows`: ids that nobody outside sees. `refused`: keys of no use."""

    project_id: str
    token: str
    refused: dict[str, str | None]
    names: dict[str, list[str]]
    rows: frozenset[str]

    @property
    def all_names(self) -> frozenset[str]:
        return frozenset(name for each in self.names.values() for name in each)


def make_owner(store: Store) -> Owner:
    data = b'{"prompt":"a","chosen":"b","rejected":"c"}\n'
    with transaction() as session:
        project = projects.ensure(session, ids.row_id())
        _, token = keys.create(session, project.id)
        old, old_token = keys.create(session, project.id)
        keys.revoke(session, old.id)
        file_id = ids.file_id()
        put = store.put(f"files/{file_id}", data)
        files.create(
            session,
            file_id=file_id,
            project_id=project.id,
            filename="pairs.jsonl",
            purpose="fine-tune",
            bytes=put.bytes,
            sha256=put.sha256,
            object_key=f"files/{file_id}",
        )
        told = full().model_copy(update={"checks": []}).model_dump(mode="json")
        files.processed(
            session, file_id, report=told, canonical_digest=ids.row_id(), records=99, kind="pair", details=None
        )
        prefix = f"models/{ids.row_id()}/"
        body = store.put(prefix + PATH, b"{}")
        manifest = Manifest(files=[FileEntry(path=PATH, bytes=body.bytes, sha256=body.sha256)])
        base = models.add_base(
            session,
            name=f"org/{ids.row_id()}",
            digest=ids.row_id(),
            prefix=prefix,
            manifest=manifest,
            facts=MODEL.model_dump(),
            project_id=project.id,
        )
        job = make_job(session, state=JobState.QUEUED, project_id=project.id, epoch=1)
        job.training_file, job.model_id = file_id, base.id
        session.flush()
        session.add(Attempt(job_id=job.id, epoch=1, node="n1", owner="o", slots=1, lease_until=job.created_at))
        event = events.NewEvent("It began.")
        events.append(session, job.id, event)
        metrics.record(session, job.id, [(1, "train", {"loss": 1.0})])
        rank_logs.write(session, job.id, 1, 0, "line\n")
        tuned = checkpoints.commit(session, job, epoch=1, step=5, prefix=prefix, manifest=manifest, metrics={})
        checkpoint = session.query(Checkpoint.id).filter_by(job_id=job.id).scalar()
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    return Owner(
        project.id,
        token,
        {"none": None, "wrong": wrong, "revoked": old_token},
        {
            "file": [file_id],
            "job": [job.id],
            "model": [base.name, tuned.name],
            "event": [event.id],
            "checkpoint": [checkpoint],
        },
        frozenset({project.id, base.id, tuned.id}),
    )


def end_jobs(owner: Owner) -> None:
    """So that what was in use may be deleted."""
    with transaction() as session:
        for job in session.query(Job).filter_by(project_id=owner.project_id):
            job.finished_at = job.created_at


def everything(store: Store) -> Iterator[str]:
    """Each row of each table, but for when a key was last used, and each object's key: to be compared."""
    with transaction() as session:
        for name in sorted(Table.metadata.tables):
            rows = session.scalars(text(f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {name} t"))
            yield from sorted(f"{name} {row}" for row in rows)
    for prefix in ("files/", "jobs/", "models/"):
        yield from sorted(each.key for each in store.list(prefix))
