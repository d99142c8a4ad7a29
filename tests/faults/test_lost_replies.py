"""A COMMIT is done and its answer lost: whoever repeats the write finds it done, by its natural key."""

import httpx
import openai
from sqlalchemy import func, select

from core.contract.states import JobState
from core.db.engine import transaction
from core.db.tables import Attempt, Checkpoint, Event, File, Job, ResumePoint
from core.objects.store import Store
from core.queue import ring
from tests.e2e.live import triples
from tests.faults.conftest import BASE, StartApi, StartWorker, assert_whole, client, said
from tests.integration.api.conftest import Server
from tests.integration.worker.conftest import Submit, job_row
from tests.integration.worker.test_attempts import chain, finished, weights, with_resume_point
from tests.lost_replies import LostReplies

FORM = {"purpose": "fine-tune"}


def upload(http: httpx.Client) -> httpx.Response:
    return http.post("/files", data=FORM, files={"file": ("pairs.jsonl", triples(20))})


def count(table: type[File] | type[Job]) -> int:
    with transaction() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_file_is_stored_once_and_said_so(served: StartApi, replies: LostReplies, token: str, store: Store) -> None:
    with client(served(DATABASE_URL=replies.url), token) as http:
        loss = replies.lose("INSERT INTO files")
        answer = upload(http)
        assert loss.happened.is_set()
        assert (answer.status_code, count(File)) == (200, 1)
        assert http.get(f"/files/{answer.json()['id']}").json()["bytes"] == len(triples(20))
    assert_whole(store, ["files/"])


def test_a_job_is_created_once(served: StartApi, replies: LostReplies, token: str, store: Store) -> None:
    server = served(DATABASE_URL=replies.url)
    with client(server, token) as http:
        file = upload(http).json()["id"]
        named = {"idempotency-key": "one"}
        loss = replies.lose("INSERT INTO jobs")
        lost = http.post("/fine_tuning/jobs", json={"model": BASE, "training_file": file}, headers=named)
        assert loss.happened.is_set()
        assert (lost.status_code, int(lost.headers["retry-after"]) > 0) == (503, True)
        again = http.post("/fine_tuning/jobs", json={"model": BASE, "training_file": file}, headers=named)
        assert (again.status_code, again.headers["x-palate-replayed"], count(Job)) == (200, "true", 1)
        assert by_the_sdk(server, replies, token, file) not in (None, again.json()["id"])
    assert count(Job) == 2
    assert_whole(store, ["files/"])


def by_the_sdk(server: Server, replies: LostReplies, token: str, file: str) -> str:
    """Without a key: the SDK repeats by itself, and says that it does."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=token, max_retries=2) as sdk:
        loss = replies.lose("INSERT INTO jobs")
        job = sdk.fine_tuning.jobs.create(model=BASE, training_file=file, seed=1)
    assert loss.happened.is_set()
    return job.id


def test_a_run_loses_the_answer_to_each_kind_of_write(
    started: StartWorker, replies: LostReplies, submit: Submit, store: Store
) -> None:
    """What is said before the run, progress, resume point, checkpoint, close, heartbeat: what only renews its lease."""
    started(DATABASE_URL=replies.url)
    job_id = submit(steps=16, step_seconds=0.2)
    losses = [
        replies.lose("UPDATE attempts SET lease_until", "UPDATE jobs SET phase"),
        replies.lose("UPDATE attempts SET lease_until", "UPDATE jobs SET resolved"),
        replies.lose("INSERT INTO metrics", "INSERT INTO events"),
        replies.lose("INSERT INTO resume_points"),
        replies.lose("INSERT INTO checkpoints"),
        replies.lose("UPDATE attempts SET ended_at"),
    ]
    ring()
    with_resume_point(job_id)
    losses.append(replies.lose("UPDATE attempts SET lease_until", alone=True))
    assert finished(job_id) == JobState.SUCCEEDED
    assert all(loss.happened.is_set() for loss in losses), losses
    with transaction() as session:
        assert session.get_one(Attempt, (job_id, 1)).outcome == "finished", "nothing of it was a failure"
        steps = session.scalars(select(Event.message).where(Event.job_id == job_id, Event.type == "metrics")).all()
        assert session.scalar(select(func.count()).select_from(Checkpoint)) == 1
        assert session.scalars(select(ResumePoint)).all() == []
    assert len(steps) == len(set(steps)) == 16
    assert sum("successfully completed" in each for each in said(job_id)) == 1
    assert len(job_row(job_id).result_files) == 2
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 16)
    assert_whole(store)


def test_a_claim_that_was_made_is_found_again(
    started: StartWorker, replies: LostReplies, submit: Submit, store: Store
) -> None:
    loss = replies.lose("INSERT INTO attempts")
    started(DATABASE_URL=replies.url)
    job_id = submit(steps=4)
    ring()
    assert finished(job_id) == JobState.SUCCEEDED
    assert loss.happened.is_set()
    assert (job_row(job_id).epoch, job_row(job_id).retries) == (1, 0), "nobody waited for its lease to run out"
    assert weights(store, job_id) == chain(job_row(job_id).training_digest or "", 4)
    assert_whole(store)
