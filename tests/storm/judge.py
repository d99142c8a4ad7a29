"""What is left after the storm, looked at row by row and byte by byte."""

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import func, select

from cli import orphans
from cli.doctor import examine
from core.contract.states import JobState
from core.db import stored
from core.db.engine import transaction
from core.db.invariants import breaches
from core.db.tables import Attempt, Event, File, Job, Model
from core.objects import keys
from core.objects.store import Store

DONE = "The job has successfully completed."


@dataclass
class Verdict:
    jobs: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    attempts: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.different or self.broken or self.orphans)


def weights(job_id: str) -> dict[str, str]:
    """sha256 of each file of the job's model; empty where it has none."""
    with transaction() as session:
        job = session.get_one(Job, job_id)
        model = session.scalar(select(Model).where(Model.job_id == job_id, Model.name == job.fine_tuned_model))
        return {} if model is None else {file["path"]: file["sha256"] for file in model.manifest["files"]}


def judge(store: Store, wanted: dict[str, dict[str, str]]) -> Verdict:
    """`wanted`: by job id, the weights of the undisturbed run of the same job."""
    verdict = Verdict(len(wanted))
    with transaction() as session:
        found = {job.id: job for job in session.scalars(select(Job))}
        done = Counter(session.scalars(select(Event.job_id).where(Event.message == DONE)))
        results = session.scalar(select(func.count()).where(File.purpose == "fine-tune-results")) or 0
        verdict.attempts = session.scalar(select(func.count()).select_from(Attempt)) or 0
        verdict.broken = [f"{each.code}: {each.rows}" for each in breaches(session)]
        promised = list(stored.promised(session, keys.canonical))
        verdict.orphans = orphans.find(session, store)
    verdict.broken += [f"{each.key}: {why}" for each, why in examine(store, promised, read=True).items()]
    for job_id, expected in wanted.items():
        job = found.pop(job_id, None)
        if job is None or job.state != JobState.SUCCEEDED:
            verdict.lost.append(f"{job_id} is {job.state if job else 'not there'}: {job.error if job else ''}")
        elif weights(job_id) != expected:
            verdict.different.append(job_id)
        if done[job_id] > 1:
            verdict.doubled.append(f"{job_id} completed {done[job_id]} times")
    verdict.doubled += [f"{job_id} was never asked for" for job_id in found]
    succeeded = len(wanted) - len(verdict.lost)
    if results != 2 * succeeded:
        verdict.doubled.append(f"{results} result files of {succeeded} jobs")
    return verdict
