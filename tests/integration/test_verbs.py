"""Cancel, pause and resume in every state: what they do, what is in effect already, and what is refused."""

from collections.abc import Callable

import pytest

from core.contract.errors import Conflict
from core.contract.job_spec import DpoHyperparameters
from core.contract.run_spec import Inspection
from core.contract.states import Desired, JobState, Outcome, Phase
from core.db import admission, attempts, events, jobs, nodes
from core.db.attempts import Ending, Lease
from core.db.engine import Session, transaction
from core.db.tables import Job, Model
from tests.rows import make_job

Verb = Callable[[Session, str, str], Job]
S, D = JobState, Desired


def stands(state: JobState, desired: Desired) -> str:
    return f"{state} {desired}"


@pytest.mark.parametrize(
    ("state", "desired", "verb", "found"),
    [
        (S.VALIDATING_FILES, D.RUN, jobs.pause, stands(S.VALIDATING_FILES, D.PAUSE)),
        (S.VALIDATING_FILES, D.PAUSE, jobs.resume, stands(S.VALIDATING_FILES, D.RUN)),
        (S.VALIDATING_FILES, D.PAUSE, jobs.cancel, stands(S.CANCELLED, D.CANCEL)),
        (S.QUEUED, D.RUN, jobs.pause, stands(S.PAUSED, D.PAUSE)),
        (S.RUNNING, D.RUN, jobs.pause, stands(S.RUNNING, D.PAUSE)),
        (S.RUNNING, D.PAUSE, jobs.pause, stands(S.RUNNING, D.PAUSE)),
        (S.RUNNING, D.PAUSE, jobs.resume, stands(S.RUNNING, D.RUN)),
        (S.RUNNING, D.PAUSE, jobs.cancel, stands(S.RUNNING, D.CANCEL)),
        (S.PAUSED, D.PAUSE, jobs.pause, stands(S.PAUSED, D.PAUSE)),
        (S.PAUSED, D.PAUSE, jobs.resume, stands(S.QUEUED, D.RUN)),
        (S.PAUSED, D.PAUSE, jobs.cancel, stands(S.CANCELLED, D.CANCEL)),
        (S.CANCELLED, D.CANCEL, jobs.cancel, stands(S.CANCELLED, D.CANCEL)),
    ],
)
def test_a_verb(service: dict[str, str], state: JobState, desired: Desired, verb: Verb, found: str) -> None:
    with transaction() as session:
        job = make_job(session, state=state, desired=desired)
        before = job.last_seq
    with transaction() as session:
        done = verb(session, job.project_id, job.id)
        assert stands(JobState(done.state), Desired(done.desired)) == found
        told = done.last_seq - before
        assert told == (0 if found == stands(state, desired) else 1), "one event a change, none where there is none"


@pytest.mark.parametrize(
    ("state", "desired", "verb"),
    [
        (S.QUEUED, D.RUN, jobs.resume),
        (S.RUNNING, D.CANCEL, jobs.pause),
        (S.RUNNING, D.CANCEL, jobs.resume),
        (S.RUNNING, D.RUN, jobs.resume),
        (S.SUCCEEDED, D.RUN, jobs.pause),
        (S.FAILED, D.RUN, jobs.pause),
        (S.CANCELLED, D.CANCEL, jobs.pause),
        (S.SUCCEEDED, D.PAUSE, jobs.resume),
    ],
)
def test_a_verb_that_comes_too_late_or_too_early(
    service: dict[str, str], state: JobState, desired: Desired, verb: Verb
) -> None:
    with transaction() as session:
        job = make_job(session, state=state, desired=desired)
    with pytest.raises(Conflict), transaction() as session:
        verb(session, job.project_id, job.id)


def test_a_job_that_is_paused_while_its_files_are_checked(service: dict[str, str]) -> None:
    with transaction() as session:
        job = make_job(session, state=S.VALIDATING_FILES)
        model = session.get_one(Model, job.model_id)
        assert job.training_digest
        payload = admission.inspection_of(job.project_id, job.training_digest, model, DpoHyperparameters(), "sigmoid")
        inspection = Inspection(records=20, usable=20, max_length=64, context_length=64)
        admission.store_inspection(session, admission.inspection_key(payload), inspection)
        jobs.pause(session, job.project_id, job.id)
    with transaction() as session:
        admission.advance(session, job.id)
        assert jobs.locked(session, job.id).state == S.PAUSED


def test_a_trained_job_that_writes_its_model_is_not_paused(service: dict[str, str]) -> None:
    with transaction() as session:
        early = make_job(session, state=S.RUNNING, phase=Phase.EXPORTING, progress={"percent": 50.0})
        late = make_job(session, state=S.RUNNING, phase=Phase.EXPORTING, progress={"percent": 100.0})
    with transaction() as session:
        assert jobs.pause(session, early.project_id, early.id).desired == D.PAUSE, "a checkpoint on the way"
    with pytest.raises(Conflict, match="writes its model"), transaction() as session:
        jobs.pause(session, late.project_id, late.id)


def held(session: Session) -> Lease:
    nodes.seen(session, "verbs", 1000, 2)
    make_job(session, state=S.QUEUED, priority=100)
    found = attempts.claim(session, node="verbs", owner="o", lease_seconds=60)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending(Outcome.PREEMPTED), S.PAUSED),
        (Ending(Outcome.STOPPED), S.PAUSED),
        (Ending(Outcome.LOST, retry=True), S.PAUSED),
        (Ending(Outcome.FAILED, retry=True, halved="smaller rows"), S.PAUSED),
        (Ending(Outcome.FAILED, error={"code": "x", "message": "y", "param": None}), S.FAILED),
        (Ending(Outcome.FINISHED), S.SUCCEEDED),
    ],
)
def test_however_the_attempt_ends_the_wish_decides(service: dict[str, str], ending: Ending, state: JobState) -> None:
    """What cannot go on fails now, not when somebody resumes it."""
    with transaction() as session:
        lease = held(session)
        project = jobs.locked(session, lease.job_id).project_id
        jobs.pause(session, project, lease.job_id)
    with transaction() as session:
        assert attempts.hold(session, lease, 60) == D.PAUSE
        assert attempts.close(session, lease, ending) == state
    with transaction() as session:
        job = jobs.locked(session, lease.job_id)
        assert job.halvings == (ending.halved is not None)
        said = [event.message for event in events.page(session, job.id, None, 10)[0]]
        assert ("paused" in said[0]) == (state == S.PAUSED)
        if state == S.PAUSED:
            jobs.cancel(session, project, job.id)
        assert attempts.open_on(session, "verbs") == []


@pytest.mark.parametrize("outcome", [Outcome.PREEMPTED, Outcome.STOPPED])
def test_a_run_that_stopped_for_a_pause_that_was_taken_back_goes_on(service: dict[str, str], outcome: Outcome) -> None:
    with transaction() as session:
        lease = held(session)
        project = jobs.locked(session, lease.job_id).project_id
        jobs.pause(session, project, lease.job_id)
        jobs.resume(session, project, lease.job_id)
    with transaction() as session:
        assert attempts.close(session, lease, Ending(outcome)) == S.QUEUED
        jobs.cancel(session, project, lease.job_id)
