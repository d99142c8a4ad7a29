"""Postgres hangs, is slow, or restarts in the middle of an upload: 503 in time, or the file; nothing half of it."""

import time
from collections.abc import Callable, Iterator

import pytest

from core.db.engine import transaction
from core.db.tables import File, Intake
from core.objects.store import Store
from tests.conftest import forget
from tests.deletions import work_off
from tests.faults.conftest import StartApi, assert_whole, client
from tests.proxy import Proxy
from tests.waiting import until
from worker.sweeper import end_intakes

MIB = 1 << 20
FORM = {"content-type": "multipart/form-data; boundary=b"}
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n'
)
TAIL = b"\r\n--b--\r\n"
SIZE = 12 * MIB
STATEMENT_SECONDS = 1.0


def body(meanwhile: Callable[[], None]) -> Iterator[bytes]:
    """`meanwhile` happens when the intake has its row."""
    yield HEAD
    yield b"x" * (9 * MIB)
    until(intakes, "the row of the intake")
    meanwhile()
    yield b"x" * (SIZE - 9 * MIB)
    yield TAIL


def intakes() -> int:
    with transaction() as session:
        return session.query(Intake).count()


def test_whatever_postgres_does_the_upload_is_answered(
    served: StartApi,
    between: Callable[[str], Proxy],
    token: str,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = between("DATABASE_URL")
    limits = {"PALATE_STATEMENT_TIMEOUT_MS": str(int(STATEMENT_SECONDS * 1_000))}
    with client(served(DATABASE_URL=database.url, **limits), token) as http:
        for fault, patience in ((database.hang, 15.0), (database.cut, 15.0)):
            began = time.monotonic()
            refused = http.post("/files", content=body(fault), headers=FORM)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert time.monotonic() - began < patience
            listed = http.get("/files")
            assert (listed.status_code, int(listed.headers["retry-after"]) > 0) == (503, True)
            database.heal()
            until(lambda: http.get("/files").status_code == 200, "the API to go on by itself", 15)
            assert http.get("/files").json()["data"] == []
        for harmless in (lambda: database.delay(0.05), database.reset):
            answer = http.post("/files", content=body(harmless), headers=FORM)
            assert (answer.status_code, answer.json()["bytes"]) == (200, SIZE)
            database.heal()
        assert len(http.get("/files").json()["data"]) == 2
    monkeypatch.setenv("PALATE_TIME_SCALE", "0.0001")
    forget()
    until(lambda: end_intakes() or not intakes(), "what was left to the sweeper to be removed")
    work_off(store)
    with transaction() as session:
        kept = {file.object_key for file in session.query(File).all()}
    assert {each.key for each in store.list("files/")} == kept
    assert_whole(store, ["files/"])
