"""Guards of projects, statement by statement, and of the wire, which is what openapi.json says."""

from tests.guards.guard import Guard

PROJECTS = "tests/integration/api/test_projects.py"
FOREIGN = f"{PROJECTS}::test_another_projects_is_unknown_and_untouched"
OWN = f"{PROJECTS}::test_its_own_each_project_has"

GUARDS = [
    Guard(
        "a job is its project's",
        "core/db/jobs.py",
        'select(Job).where(Job.id == bindparam("job"), Job.project_id == bindparam("project"))',
        'select(Job).where(Job.id == bindparam("job"))',
        FOREIGN,
    ),
    Guard(
        "a list of jobs is of one project",
        "core/db/jobs.py",
        "    query = select(Job).where(Job.project_id == project_id)\n",
        "    query = select(Job)\n",
        OWN,
    ),
    Guard(
        "a page of jobs begins at a job of the project",
        "core/db/jobs.py",
        "select(Job).where(Job.id == after, Job.project_id == project_id)",
        "select(Job).where(Job.id == after)",
        FOREIGN,
    ),
    Guard(
        "a file is its project's",
        "core/db/files.py",
        "select(File).where(File.id == file_id, File.project_id == project_id, live())",
        "select(File).where(File.id == file_id, live())",
        FOREIGN,
    ),
    Guard(
        "a list of files is of one project",
        "core/db/files.py",
        "select(File).where(File.project_id == project_id, live()).limit",
        "select(File).where(live()).limit",
        OWN,
    ),
    Guard(
        "a page of files begins at a file of the project",
        "core/db/files.py",
        "select(File).where(File.id == after, File.project_id == project_id)",
        "select(File).where(File.id == after)",
        FOREIGN,
    ),
    Guard(
        "a model is its project's",
        "core/db/models.py",
        "return Model.deleted_at.is_(None) & or_(Model.project_id == project_id, Model.project_id.is_(None))",
        "return Model.deleted_at.is_(None)",
        FOREIGN,
    ),
    Guard(
        "a job is made of files of its project",
        "core/db/submit.py",
        "        .where(File.id == file_id, File.project_id == project_id, files.live())\n",
        "        .where(File.id == file_id, files.live())\n",
        FOREIGN,
    ),
    Guard(
        "a page of events begins at an event of the job",
        "core/db/events.py",
        "select(Event.seq).where(Event.job_id == job_id, Event.id == after)",
        "select(Event.seq).where(Event.id == after)",
        FOREIGN,
    ),
    Guard(
        "events are of a job that was found",
        "api/routes/jobs.py",
        "        jobs.get(session, caller.project_id, job_id)\n        rows, more = events.page",
        "        rows, more = events.page",
        FOREIGN,
    ),
    Guard(
        "a refusal of a method allows all of the address",
        "api/errors.py",
        '        allow = ", ".join(allowed(request))\n',
        '        allow = (error.headers or {}).get("Allow", "")\n',
        "tests/integration/api/test_doors.py::test_another_method",
    ),
]
