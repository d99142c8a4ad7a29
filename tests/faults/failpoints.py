"""Every function of the service that makes a durable call: found in the source, and catalogued by hand."""

import ast
from collections.abc import Iterator

WRITES = (
    *("put_stream", "put_file", "put", "upload_folder", "delete", "delete_prefix"),
    *("begin_multipart", "upload_part", "complete_multipart", "abort_multipart"),
)
ROOMS = ("api/", "worker/", "core/")
TRANSACTION = ("committing", "committed")

# Its transactions only read: they pass no point, which the test of the listing holds against them.
READS = {
    *("api.routes.plans:plan", "api.routes.reports:report", "api.routes.reports:preview"),
    *("worker.claim:elsewhere", "worker.claim:clean", "worker.claim:start_doubtful"),
    "worker.sweeper:Sweeper.take_over",
}

# What a user's life passes without any fault: an upload, a job to its end, one paused and resumed, one cancelled,
# deletions.
LIFE = {
    *("api.intake:_commit", "api.transfer:Transfer.finish", "api.transfer:Transfer._send", "api.transfer:_begin"),
    *("api.routes.files:delete", "api.routes.models:delete"),
    *(f"api.routes.jobs:{name}" for name in ("create", "cancel", "pause", "resume")),
    *("worker.claim:claim_all", "worker.claim:claim_attempt", "worker.claim:claim_task"),
    *(
        "worker.prepare:read",
        "worker.prepare:prepare",
        "worker.recorder:Recorder.write",
        "worker.ranklogs:RankLogs.look",
    ),
    *("worker.publisher:Publisher._checkpoint", "worker.publisher:Publisher._resume_point"),
    *("worker.publisher:commit_resume_point", "worker.references:publish", "worker.ranklogs:RankLogs.upload"),
    *("worker.close:results", "worker.close:surely"),
    *("worker.validate_task:validate", "worker.validate_task:record", "worker.inspect:inspect"),
    "worker.task:delete_objects",
    *("core.objects.store:Store.put_stream", "core.objects.store:Store.put_file"),
    *("core.objects.store:Store.upload_folder.<locals>.send", "core.objects.store:Store.delete_prefix"),
}

# Passed only after a fault, or when time has gone by.
AFTERMATH = {
    *("api.transfer:_seen", "api.transfer:_remove"),
    *(
        "worker.claim:lost",
        "worker.claim:lapsed",
        "worker.references:lost",
        "worker.prepare:Wanted.look",
        "worker.resume:damaged",
    ),
    *("worker.sweeper:Sweeper.take_over_tasks", "worker.sweeper:Sweeper.abort_intakes"),
    *(f"worker.sweeper:{name}" for name in ("admit", "tell_too_large", "retain", "expire")),
    *("worker.task:lose", "worker.task:renewer.<locals>.alive"),
    "worker.node_facts:measured",  # of the real trainer only
}
# Of functions in LIFE, the calls that it does not make: their branch is another, for large objects or after a fault.
NOT_IN_LIFE = {
    *("worker.close:results:committing", "worker.close:results:committed"),
    *("worker.validate_task:validate:committing", "worker.validate_task:validate:committed"),
    "api.transfer:_begin:abort_multipart",
    *(
        f"core.objects.store:Store.put_stream:{name}"
        for name in ("begin_multipart", "upload_part", "complete_multipart", "abort_multipart")
    ),
}


def points(files: dict[str, str]) -> set[str]:
    """The names of all points in these sources, by the rule of core/contract/failpoints.py."""
    found: set[str] = set()
    for path, text in files.items():
        if path.startswith(ROOMS):
            module = path.removesuffix(".py").replace("/", ".")
            for function, call in calls(ast.parse(text), ""):
                found |= {f"{module}:{function}:{each}" for each in named(call)}
    return found


def calls(node: ast.AST, within: str) -> Iterator[tuple[str, ast.Call]]:
    """Each call, and the qualified name of the function that makes it; a lambda is its function's."""
    for child in ast.iter_child_nodes(node):
        inside = within
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            outer = within if not within or within.endswith("|") else f"{within}.<locals>."
            inside = outer.replace("|", ".") + child.name + ("|" if isinstance(child, ast.ClassDef) else "")
        if isinstance(child, ast.Call):
            yield within, child
        yield from calls(child, inside)


def named(call: ast.Call) -> tuple[str, ...]:
    if isinstance(call.func, ast.Name) and call.func.id == "transaction":
        return TRANSACTION
    if isinstance(call.func, ast.Attribute) and call.func.attr in WRITES:
        holder = ast.unparse(call.func.value).rpartition(".")[2].strip("_")
        if holder in ("store", "self"):
            return (call.func.attr,)
    return ()


def function_of(point: str) -> str:
    return point.rpartition(":")[0]


def uncatalogued(files: dict[str, str]) -> list[str]:
    """Durable calls in functions that the catalogue does not name, and entries whose function makes none any more."""
    here = {function_of(point) for point in points(files)}
    known = READS | LIFE | AFTERMATH
    rooms = {path.removesuffix(".py").replace("/", ".") for path in files}
    return [
        *(f"{each}: makes a durable call; name it in tests/faults/failpoints.py" for each in sorted(here - known)),
        *(
            f"{each}: in tests/faults/failpoints.py, and makes no durable call"
            for each in sorted(known - here)
            if each.partition(":")[0] in rooms
        ),
    ]


def life(files: dict[str, str]) -> set[str]:
    """What an undisturbed life passes."""
    return {point for point in points(files) if function_of(point) in LIFE} - NOT_IN_LIFE
