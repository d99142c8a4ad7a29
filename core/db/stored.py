"""Every object that a row of the database promises: its key, size and, where a row knows it, its sha256."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.contract.manifest import Manifest
from core.db.tables import File, Model, ReferenceEntry, ResumePoint

ROWS = 500


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


def of_folder(prefix: str, manifest: dict[str, object], by: str) -> Iterator[Promised]:
    for file in Manifest.model_validate(manifest).files:
        yield Promised(prefix + file.path, file.bytes, file.sha256, by)
