"""The SQL of requests: each statement names the project, or reaches only what the request has found under it."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from core.db.tables import Table

OF_PROJECTS = sorted(name for name, table in Table.metadata.tables.items() if name not in ("projects", "nodes"))
NAMED = re.compile(r"\bproject_id\b")
PROJECT = "proj_"
OF_A_JOB = re.compile(r"\b(attempts|checkpoints|events|metrics|rank_logs|resume_points)\.job_id (=|IN) ")
# A statement that does not name the project, and why it need not.
REACHED = {
    r"^SELECT keys\.": "who asks is what is to be found out",
    r"^UPDATE keys SET .* WHERE keys\.id = ": "of the key that asks",
    r"\b(files|jobs|models)\.id (=|IN) ": "a row that was found under the project before, by its primary key",
    r"\bjobs\.(training_file|validation_file|model_id) = ": "whether a file or a model that was found is in use",
    r"\bmodels\.prefix = ": "whether another row shows the same bytes",
    OF_A_JOB.pattern: "of a job that was found",
    r"\bbad_lines\.file_id = ": "of a file that was found",
    r"^INSERT INTO (events|tasks) ": "of what was found",
    r"^INSERT INTO intakes |^UPDATE intakes |\bintakes\.file_id = ": "an upload under way, by the id that it was given",
    r"^(SELECT|UPDATE) tasks\b|^UPDATE tasks\b|^SELECT .* FROM tasks ": "work waits for what was found",
    r"\binspections\.key = |^INSERT INTO inspections ": "by the bytes of a file and a model that were found",
}
Sent = list[tuple[str, Any]]


@contextmanager
def listening() -> Iterator[Callable[[], Sent]]:
    """Gives what was sent since it was last asked."""
    sent: Sent = []

    def hear(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        sent.append((" ".join(statement.split()), parameters))

    def taken() -> Sent:
        found = sent[:]
        del sent[: len(found)]
        return found

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield taken
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def fault(statement: str, parameters: Any, others: frozenset[str]) -> str | None:
    """What is wrong with a statement of a request; `others` are ids of other projects' rows."""
    if not any(re.search(rf"\b(FROM|JOIN|INTO|UPDATE) {name}\b", statement) for name in OF_PROJECTS):
        return None
    _, _, condition = statement.partition(" WHERE ")
    foreign = others & set(values(parameters))
    if NAMED.search(statement if statement.startswith("INSERT") else condition):
        projects = {each for each in foreign if each.startswith(PROJECT)}
        return f"asks for {projects}: {statement}" if projects else None
    if not any(re.search(each, statement) for each in REACHED):
        return f"names no project_id: {statement}"
    if OF_A_JOB.search(statement) and isinstance(parameters, Mapping):
        # An event or a checkpoint of another job is not among those of this one.
        foreign &= set(values([value for name, value in parameters.items() if name.startswith(("job_id", "ids"))]))
    return f"reaches another project's {foreign} without project_id: {statement}" if foreign else None


def values(parameters: Any) -> Iterator[str]:
    if isinstance(parameters, str):
        yield parameters
    elif isinstance(parameters, Mapping):
        for each in parameters.values():
            yield from values(each)
    elif isinstance(parameters, list | tuple):
        for each in parameters:
            yield from values(each)
