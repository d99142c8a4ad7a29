"""Task slots and inspections are shared: what one project uploads holds up no other, and tells it nothing."""

import pytest
from sqlalchemy import func

from core.contract.job_spec import DpoHyperparameters
from core.contract.run_spec import Inspection
from core.contract.states import JobState, TaskKind
from core.db import admission, nodes, projects, tasks
from core.db.engine import Session, transaction
from core.db.tables import File, Job, Model, Task
from core.db.tasks import TaskClaim
from tests.rows import make_job

HYPERPARAMETERS = DpoHyperparameters()
INSPECTION = Inspection(records=20, usable=20, max_length=64, context_length=64)


@pytest.fixture
def two(service: dict[str, str]) -> tuple[str, str]:
    """Projects."""
    with transaction() as session:
        return projects.ensure(session, "a").id, projects.ensure(session, "b").id


def waiting(session: Session, project_id: str, count: int = 1) -> None:
    for _ in range(count):
        subject = f"{project_id}{session.query(Task).count()}"
        tasks.add(session, kind=TaskKind.VALIDATE_FILE, subject=subject, project_id=project_id)


def take(session: Session, node: str = "n1") -> TaskClaim | None:
    return tasks.claim(session, node=node, owner="o", lease_seconds=60)


def whose(session: Session, claim: TaskClaim | None) -> str | None:
    return None if claim is None else session.get_one(Task, claim.id).project_id


def test_a_project_leaves_one_slot_of_a_node_to_others(two: tuple[str, str]) -> None:
    greedy, other = two
    with transaction() as session:
        nodes.seen(session, "n1", 1, 3)
        waiting(session, greedy, 5)
        assert [whose(session, take(session)) for _ in range(3)] == [greedy, greedy, None]
        waiting(session, other, 2)
        assert [whose(session, take(session)) for _ in range(2)] == [other, None], "three slots in all"


def test_who_is_alone_has_all_slots(service: dict[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 1, 2)
        alone = projects.ensure(session, "alone").id
        waiting(session, alone, 2)
        assert [whose(session, take(session)) for _ in range(2)] == [alone, alone]


def test_of_one_slot_projects_take_turns(two: tuple[str, str]) -> None:
    greedy, other = two
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
        waiting(session, greedy, 4)
        waiting(session, other, 2)
    order = []
    for _ in range(6):
        with transaction() as session:
            claim = take(session)
            assert claim is not None
            assert take(session) is None
            order.append(whose(session, claim))
            tasks.finish(session, claim)
    assert order == [greedy, other, greedy, other, greedy, greedy]


def test_who_runs_fewest_tasks_on_all_nodes_goes_first(two: tuple[str, str]) -> None:
    greedy, other = two
    with transaction() as session:
        for name in ("n1", "n2", "n3"):
            nodes.seen(session, name, 1, 2)
        waiting(session, other)
        assert whose(session, take(session, "n3")) == other
        waiting(session, greedy, 4)
        waiting(session, other, 2)
        assert whose(session, take(session, "n1")) == greedy
        order = [whose(session, take(session, name)) for name in ("n2", "n2", "n1")]
        assert order == [other, greedy, other], "not where it runs, but how many"


def test_two_nodes_that_claim_at_once_take_different_tasks(two: tuple[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 1, 1)
        nodes.seen(session, "n2", 1, 1)
        waiting(session, two[0], 2)
    with transaction() as one, transaction() as another:
        first, second = take(one, "n1"), take(another, "n2")
        assert first is not None
        assert second is not None
        assert first.id != second.id


def test_a_postponed_task_waits_and_its_project_is_passed(two: tuple[str, str]) -> None:
    with transaction() as session:
        nodes.seen(session, "n1", 1, 2)
        tasks.add(session, kind=TaskKind.VALIDATE_FILE, subject="x", project_id=two[0], after_seconds=60)
        waiting(session, two[1])
        assert whose(session, take(session)) == two[1]
        assert take(session) is None


def inspected(session: Session, job: Job) -> Inspection | None:
    file, model = session.get_one(File, job.training_file), session.get_one(Model, job.model_id)
    return admission.inspect(session, file, model, HYPERPARAMETERS, "sigmoid")


def test_the_same_data_of_another_project_is_inspected_anew(service: dict[str, str]) -> None:
    """Or a quick answer would tell a project that somebody else has these very records."""
    with transaction() as session:
        first = make_job(session, state=JobState.QUEUED)
        again = make_job(session, state=JobState.QUEUED, project_id=first.project_id)
        other = make_job(session, state=JobState.QUEUED)
        digest = session.get_one(File, first.training_file).canonical_digest
        for job in (again, other):
            session.get_one(File, job.training_file).canonical_digest = digest
        session.flush()
        model = session.get_one(Model, first.model_id)
        payload = admission.inspection_of(first.project_id, digest or "", model, HYPERPARAMETERS, "sigmoid")
        admission.store_inspection(session, admission.inspection_key(payload), INSPECTION)
        assert inspected(session, again) == INSPECTION
        assert inspected(session, other) is None
        (task,) = session.query(Task).filter_by(kind=TaskKind.INSPECT)
        assert task.project_id == other.project_id


def test_a_result_moves_on_the_jobs_of_its_own_project_alone(service: dict[str, str]) -> None:
    with transaction() as session:
        mine = make_job(session, state=JobState.VALIDATING_FILES)
        values = {"training_digest": mine.training_digest, "created_at": func.clock_timestamp()}
        theirs = make_job(session, state=JobState.VALIDATING_FILES, **values)
        theirs.model_id = mine.model_id
        session.flush()
        payload = {"digest": mine.training_digest, "model_id": mine.model_id}
        assert admission.waiting_for_inspection(session, payload | {"project": mine.project_id}) == [mine.id]
        assert admission.waiting_for_inspection(session, payload) == [mine.id, theirs.id], "asked for by an older part"


def test_a_queued_job_finds_what_was_seen_before_projects_counted(service: dict[str, str]) -> None:
    with transaction() as session:
        job = make_job(session, state=JobState.QUEUED)
        model, digest = session.get_one(Model, job.model_id), job.training_digest or ""
        old = admission.inspection_of(job.project_id, digest, model, HYPERPARAMETERS, "sigmoid") | {"project": None}
        admission.store_inspection(session, admission.inspection_key(old), INSPECTION)
        found = admission.stored_inspection(session, job.project_id, digest, model, HYPERPARAMETERS)
        assert found == INSPECTION
