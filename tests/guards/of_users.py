"""Guards between users and the service: what is in use, whose it is, how much may be sent, which schema serves."""

from tests.guards.guard import Guard

API = "tests/integration/api/"
FENCES = "tests/integration/test_fences.py"

GUARDS = [
    Guard(
        "a file in use is not deleted",
        "core/db/files.py",
        "    if user is not None:\n",
        "    if False:\n",
        f"{API}test_jobs.py::test_a_file_in_use_stays",
    ),
    Guard(
        "an expired file in use is not deleted",
        "core/db/files.py",
        ", ~unfinished.exists())",
        ")",
        f"{FENCES}::test_an_expired_file_that_an_unfinished_job_uses_stays",
    ),
    Guard(
        "a model in use is not deleted",
        "core/db/models.py",
        "    if user is not None:\n",
        "    if False:\n",
        f"{API}test_models.py::test_a_model_in_use_stays",
    ),
    Guard(
        "a base model is the operator's",
        "core/db/models.py",
        "    if model.project_id != project_id or model.job_id is None:\n",
        "    if False:\n",
        f"{API}test_models.py::test_deleting",
    ),
    Guard(
        "an expired file is gone at once",
        "core/db/files.py",
        "return File.deleted_at.is_(None) & or_(File.expires_at.is_(None), File.expires_at > func.now())",
        "return File.deleted_at.is_(None)",
        f"{API}test_files.py::test_an_expired_file_is_gone",
    ),
    Guard(
        "a JSON body has a limit",
        "api/body.py",
        "    if (declared_bytes(request) or 0) > limit:\n        raise too_large\n    body = bytearray()\n"
        "    async for piece in pieces(request, idle_seconds):\n        body += piece\n        if len(body) > limit:\n",
        "    body = bytearray()\n"
        "    async for piece in pieces(request, idle_seconds):\n        body += piece\n        if False:\n",
        f"{API}test_bodies.py::test_too_large",
    ),
    Guard(
        "an older schema is not served",
        "core/db/migrate.py",
        "    if found is None or found < needed:",
        "    if found is None:",
        f"{API}test_doors.py::test_an_older_schema_is_not_ready",
    ),
]
