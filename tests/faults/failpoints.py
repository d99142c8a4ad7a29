"""Every function of the service that makes a durable call: found in the source, and catalogued by hand."""

import ast
from collections.abc import Iterator

WRITES = (
    *("put_stream", "put", "upload_folder", "delete", "delete_prefix"),
    *("begin_multipart", "upload_part", "complete_multipart", "abort_multipart"),
)
ROOMS = ("api/", "worker/", "core/", "trainer/")
# Where a file that others rely on gets its name by core.disk.rename alone.
RENAMING = ("worker/", "trainer/", "core/objects/")
TRANSACTION = ("committing", "committed")

# Its transactions only read: they pass no point, which the test of the listing holds against them.
READS = {
    *("api.routes.plans:plan", "api.routes.reports:report", "api.routes.reports:preview"),
    *("worker.claim:elsewhere", "worker.claim:clean", "worker.claim:start_doubtful"),
    "worker.sweeper:Sweeper.take_over",
    *("worker.close:trained", "worker.orphans:nobodys"),
    *("worker.orphans:asked", "worker.orphans:still_named"),
}

# What a user's life passes without any fault: an upload, a job to its end, one paused and resumed, one cancelled,
# deletions.
LIFE = {
    *("api.intake:_commit", "api.transfer:Transfer.finish", "api.transfer:Transfer._send"),
    *("api.transfer:_begin", "api.transfer:_seen"),
    *("api.routes.files:delete", "api.routes.models:delete"),
    *(f"api.routes.jobs:{name}" for name in ("create", "cancel", "pause", "resume")),
    *("worker.claim:claim_all", "worker.claim:claim_attempt", "worker.claim:claim_task"),
    *(
        "worker.prepare:read",
        "worker.prepare:told",
        "worker.resume:whole",
        "worker.prepare:Wanted.look",
        "worker.recorder:Recorder.write",
        "worker.ranklogs:RankLogs.look",
    ),
    *("worker.publisher:Publisher._checkpoint", "worker.publisher:Publisher._resume_point"),
    *("worker.publisher:Publisher._verdict", "worker.publisher:Publisher._settled"),
    *("worker.publisher:commit_resume_point", "worker.references:publish", "worker.ranklogs:RankLogs.upload"),
    *("worker.close:results", "worker.close:close"),
    *("worker.supervisor:move_in", "worker.supervisor:Supervisor.ask_to_stop", "worker.launcher:cold"),
    *("worker.cache:entry", "worker.cache:delete"),
    *(f"worker.validate_task:{name}" for name in ("validate", "announce", "record")),
    *("worker.validate:validate", "worker.validate:_write", "worker.inspect:inspect", "trainer.inspect:write"),
    *("worker.task:delete_objects", "worker.orphans:of_canonical", "worker.orphans:collect"),
    "core.objects.store:Store.put_stream",
    *("core.objects.store:Store.upload_folder.<locals>.send", "core.objects.store:Store.delete_prefix"),
    "core.objects.store:Store.download",
}

# Passed only after a fault, or when time has gone by.
AFTERMATH = {
    *("api.transfer:_remove", "worker.claim:lost", "worker.claim:lapsed", "worker.references:lost"),
    *("worker.claim:end_seats", "worker.sweeper:end_seats"),
    *("worker.resume:damaged", "worker.resume:whole_model", "worker.publisher:Publisher._gone"),
    *("worker.sweeper:Sweeper.take_over_tasks", "worker.sweeper:end_intakes"),
    *("worker.orphans:StandingStill.abort", "worker.orphans:of_attempt"),
    *(f"worker.sweeper:{name}" for name in ("admit", "tell_too_large", "expire")),
    *(f"worker.sweeper:{name}" for name in ("fail_paused", "drop_logs", "drop_history")),
    *("worker.task:lose", "worker.task:renewer.<locals>.alive"),
}
# Of functions in LIFE, the calls that it does not make: their branch is another, for large objects or after a fault.
NOT_IN_LIFE = {
    *("worker.validate_task:validate:committing", "worker.validate_task:validate:committed"),
    *("api.transfer:_begin:abort_multipart", "worker.task:delete_objects:abort_multipart"),
    *(
        f"core.objects.store:Store.put_stream:{name}"
        for name in ("begin_multipart", "upload_part", "complete_multipart", "abort_multipart")
    ),
}

# Of the real trainer, and of what starts it.
TRAINED = {
    *("trainer.rank:sign_in", "trainer.rank:sign_out", "trainer.checkpoint:prune"),
    *("trainer.seal:write_part", "trainer.seal:close_folder"),
    *("worker.warm:launch", "worker.node_facts:measured"),
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
    if isinstance(call.func, ast.Name) and call.func.id == "rename":
        return ("rename",)
    if isinstance(call.func, ast.Attribute):
        name, holder = call.func.attr, ast.unparse(call.func.value).rpartition(".")[2].strip("_")
        signs = name == "sign" or (name == "write" and holder in ("manifest", "manifests"))
        if signs or (name in WRITES and holder in ("store", "self")):
            return (name,)
    return ()


def bare_renames(files: dict[str, str]) -> list[str]:
    """Calls that give a file its name and pass no point; str.replace has two arguments, Path.replace one."""
    return [
        f"{path}:{call.lineno}: use core.disk.rename"
        for path, text in files.items()
        if path.startswith(RENAMING)
        for _, call in calls(ast.parse(text), "")
        if isinstance(call.func, ast.Attribute) and is_rename(call.func, len(call.args))
    ]


def is_rename(called: ast.Attribute, arguments: int) -> bool:
    holder = ast.unparse(called.value)
    if holder in ("os", "shutil"):
        return called.attr in ("rename", "renames", "replace", "move", "link")
    return (called.attr == "rename" and holder != "processes") or (called.attr == "replace" and arguments == 1)


def function_of(point: str) -> str:
    return point.rpartition(":")[0]


def uncatalogued(files: dict[str, str]) -> list[str]:
    """Durable calls in functions that the catalogue does not name, and entries whose function makes none any more."""
    here = {function_of(point) for point in points(files)}
    known = READS | LIFE | AFTERMATH | TRAINED
    rooms = {path.removesuffix(".py").replace("/", ".") for path in files}
    return [
        *(f"{each}: makes a durable call; name it in tests/faults/failpoints.py" for each in sorted(here - known)),
        *(
            f"{each}: in tests/faults/failpoints.py, and makes no durable call"
            for each in sorted(known - here)
            if each.partition(":")[0] in rooms
        ),
    ]


def aftermath(files: dict[str, str]) -> set[str]:
    """What a scenario must bring about."""
    return {point for point in points(files) if function_of(point) in AFTERMATH} | NOT_IN_LIFE


def trained(files: dict[str, str]) -> set[str]:
    return {point for point in points(files) if function_of(point) in TRAINED}


def life(files: dict[str, str]) -> set[str]:
    """What an undisturbed life passes."""
    return {point for point in points(files) if function_of(point) in LIFE} - NOT_IN_LIFE
