"""SIGTERM under load: who was heard gets a whole answer, and who comes later finds the next process."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.db.engine import transaction
from core.db.tables import File, Job
from tests.integration.api.conftest import Server, Tenant, error_of, refused, serve, until

JOBS = "/v1/fine_tuning/jobs"
CALLERS, UPLOADS, WAITERS = 24, 3, 8
PIECE, PIECES = b"x" * (1 << 18), 24
FORM = {"content-type": "multipart/form-data; boundary=b"}
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
)
TAIL = b"\r\n--b--\r\n"


@pytest.fixture
def job(tenant: Tenant, base_model: str) -> dict[str, Any]:
    made: dict[str, Any] = tenant.http.post(JOBS, json={"model": base_model, "training_file": tenant.upload()}).json()
    return made


class Load:
    """Clients that keep their connections and never rest. Refused is only who connects anew; anything else is lost."""

    def __init__(self, server: Server, tenant: Tenant, job: dict[str, Any]) -> None:
        self.server, self.job = server, job
        self.headers = {"authorization": f"Bearer {tenant.token}"}
        self.body = {"model": job["model"], "training_file": job["training_file"]}
        self.answered = [0] * CALLERS
        self.created: list[str] = []
        self.uploading = threading.Semaphore(0)
        self.stopped = threading.Event()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, headers=self.headers, timeout=60, trust_env=False)

    def call(self, number: int) -> int:
        """Until it is refused; how many answers it had."""
        own = f"{JOBS}/{self.job['id']}"
        with self.client() as client:
            while not self.stopped.is_set():
                turn = (number + self.answered[number]) % 4
                try:
                    if turn == 0:
                        answer = client.post(JOBS, json=self.body | {"metadata": {"caller": str(number)}})
                    else:
                        answer = client.get((own, JOBS, f"{own}/events")[turn - 1])
                except httpx.ConnectError:
                    break
                assert answer.status_code == 200, answer.text
                told = answer.json()
                if turn == 0:
                    self.created.append(told["id"])
                else:
                    assert (told["id"] == self.job["id"]) if turn == 1 else (told["object"] == "list")
                self.answered[number] += 1
        return self.answered[number]

    def upload(self) -> dict[str, Any]:
        """Half of it before the signal, the rest some time after."""

        def body() -> Iterator[bytes]:
            yield HEAD
            for number in range(PIECES):
                if number == PIECES // 2:
                    self.uploading.release()
                    self.stopped.wait(30)
                yield PIECE
            yield TAIL

        with self.client() as client:
            answer = client.post("/v1/files", content=body(), headers=FORM)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def wait(self) -> tuple[float, httpx.Response]:
        params = {"wait": "60", "since": str(self.job["palate"]["version"])}
        with self.client() as client:
            answer = client.get(f"{JOBS}/{self.job['id']}", params=params)
        return time.monotonic(), answer


def connected(server: Server) -> int:
    """Connections that the server's process holds open, as the kernel counts them."""
    with Path("/proc/net/tcp").open() as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(1 for row in rows if row[1].endswith(f":{server.port:04X}") and row[3] == "01")


@pytest.mark.parametrize("processes", ["1", "3"])
def test_not_one_request_is_lost(
    processes: str, environment: dict[str, str], tenant: Tenant, job: dict[str, Any], tmp_path: Path
) -> None:
    patient = {**environment, "PALATE_INTAKE_IDLE_SECONDS": "30", "PALATE_PROCESSES": processes}
    with serve(patient, tmp_path / "log") as server, ThreadPoolExecutor(CALLERS + UPLOADS + WAITERS) as pool:
        load = Load(server, tenant, job)
        waiting = [pool.submit(load.wait) for _ in range(WAITERS)]
        uploads = [pool.submit(load.upload) for _ in range(UPLOADS)]
        for _ in uploads:
            assert load.uploading.acquire(timeout=30)
        until(lambda: connected(server) == WAITERS + UPLOADS)
        callers = [pool.submit(load.call, number) for number in range(CALLERS)]
        until(lambda: min(load.answered) >= 4, 60)
        at_signal, asked = sum(load.answered), time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answers = [each.result(30) for each in waiting]
        with serve(environment, tmp_path / "successor.log", server.port) as successor:
            assert server.process.poll() is None, "the port is the successor's while uploads still end at the first"
            assert httpx.get(f"{successor.url}/readyz").status_code == 200
        load.stopped.set()
        total = sum(each.result(60) for each in callers)
        files = [each.result(60) for each in uploads]
        assert server.process.wait(20) == 0
    assert all((answer.status_code, answer.json()["id"]) == (200, job["id"]) for _, answer in answers)
    assert max(at for at, _ in answers) - asked < 3
    assert {answer.headers["connection"] for _, answer in answers} == {"close"}
    assert total >= at_signal
    assert [each["bytes"] for each in files] == [len(PIECE) * PIECES] * UPLOADS
    with transaction() as session:
        assert all(session.get_one(File, each["id"]).bytes == each["bytes"] for each in files)
        assert len(set(load.created)) == len(load.created)
        assert all(session.get_one(Job, each).project_id == tenant.project_id for each in load.created)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_kept_connection_is_told_and_then_left(environment: dict[str, str], tenant: Tenant, tmp_path: Path) -> None:
    with (
        serve({**environment, "PALATE_LINGER_SECONDS": "3"}, tmp_path / "log") as server,
        httpx.Client(base_url=server.url, trust_env=False) as kept,
        httpx.Client(base_url=server.url, trust_env=False) as silent,
    ):
        assert "connection" not in kept.get("/healthz").headers
        assert silent.get("/healthz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refused(server))
        ready = kept.get("/readyz")
        assert (ready.status_code, ready.json()["api"], ready.json()["database"]) == (503, "stopping", "ok")
        assert ready.headers["connection"] == "close"
        with pytest.raises(httpx.ConnectError):
            kept.get("/healthz")
        assert server.process.wait(10) == 0, "who keeps a silent connection does not hold it up"


def test_what_does_not_end_in_time_is_cut_off_with_an_answer(
    environment: dict[str, str], tenant: Tenant, tmp_path: Path
) -> None:
    """An upload that stands still for longer than the stop may take."""
    limits = {"PALATE_STOP_SECONDS": "1", "PALATE_LINGER_SECONDS": "0", "PALATE_INTAKE_IDLE_SECONDS": "60"}
    with serve({**environment, **limits}, tmp_path / "log") as server, ThreadPoolExecutor(1) as pool:
        ended = threading.Event()

        def body() -> Iterator[bytes]:
            yield HEAD + PIECE
            ended.wait(30)

        def upload() -> httpx.Response:
            headers = {**FORM, "authorization": f"Bearer {tenant.token}"}
            return httpx.post(f"{server.url}/v1/files", content=body(), headers=headers, timeout=30)

        cut = pool.submit(upload)
        until(lambda: connected(server) == 1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        assert time.monotonic() - began < 5
        ended.set()
        answer = lost_or_told(cut.result)
    assert answer is None or (answer.status_code, error_of(answer)["code"]) == (503, "stopping")


def lost_or_told(result: Callable[[float], httpx.Response]) -> httpx.Response | None:
    """The client still sends: it may learn of the end before it reads why."""
    try:
        answer = result(30)
    except httpx.TransportError:
        return None
    assert json.loads(answer.headers["retry-after"]) > 0
    return answer
