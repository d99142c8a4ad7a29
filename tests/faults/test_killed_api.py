"""The API is killed in the middle of a POST: the job is wholly there or not at all; the retry gets the same one."""

from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from core.db.engine import transaction
from core.db.tables import Event, File, IdempotencyKey, Intake, Job
from core.objects.store import Store
from tests.conftest import forget
from tests.deletions import work_off
from tests.e2e.live import triples
from tests.faults.conftest import BASE, StartApi, assert_whole, client
from tests.waiting import until
from worker.sweeper import end_intakes

UPLOAD = {"data": {"purpose": "fine-tune"}, "files": {"file": ("pairs.jsonl", triples(20))}}
NAMED = {"idempotency-key": "one"}


@pytest.mark.parametrize("moment", [pytest.param("committing", marks=pytest.mark.slow), "committed"])
def test_a_job_is_wholly_there_or_not_at_all(
    moment: str, served: StartApi, token: str, store: Store, tmp_path: Path
) -> None:
    points = tmp_path / "points"
    points.mkdir()
    server = served(PALATE_FAILPOINTS=str(points))
    with client(server, token) as http:
        file = http.post("/files", **UPLOAD).json()["id"]  # type: ignore[arg-type]
        (points / f"api.routes.jobs:create:{moment}#1").touch()
        body = {"model": BASE, "training_file": file}
        with pytest.raises(httpx.TransportError):
            http.post("/fine_tuning/jobs", json=body, headers=NAMED)
    assert server.process.wait(10) == -9
    with transaction() as session:
        there = list(session.scalars(select(Job.id)))
        events, keys = session.query(Event).count(), session.query(IdempotencyKey).count()
    assert (len(there), events > 0, keys) == ((1, True, 1) if moment == "committed" else (0, False, 0))
    with client(served(), token) as http:
        again = http.post("/fine_tuning/jobs", json=body, headers=NAMED).json()["id"]
    with transaction() as session:
        assert list(session.scalars(select(Job.id))) == (there or [again]) == [again]
    assert_whole(store, ["files/"])


def test_a_file_is_wholly_there_or_swept_away(
    served: StartApi, token: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the bytes are stored and no row says so."""
    points = tmp_path / "points"
    points.mkdir()
    server = served(PALATE_FAILPOINTS=str(points))
    (points / "api.transfer:Transfer.finish:complete_multipart#1").touch()
    with client(server, token) as http, pytest.raises(httpx.TransportError):
        http.post("/files", **UPLOAD)  # type: ignore[arg-type]
    assert server.process.wait(10) == -9
    with transaction() as session:
        assert (session.query(File).count(), session.query(Intake).count()) == (0, 1)
    assert len(list(store.list("files/"))) == 1
    monkeypatch.setenv("PALATE_TIME_SCALE", "0.0001")
    forget()

    def swept() -> bool:
        end_intakes()
        work_off(store)
        return not list(store.list("files/"))

    until(swept, "what nobody feeds to be removed")
    with transaction() as session:
        assert session.query(Intake).count() == 0
