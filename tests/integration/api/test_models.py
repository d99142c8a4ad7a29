"""Models: names with slashes and colons, and the way to their bytes."""

import hashlib
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import openai
import pytest
from sqlalchemy import update

from core.contract.manifest import FileEntry, Manifest
from core.db import checkpoints, jobs, models
from core.db.engine import transaction
from core.db.tables import Job, Task
from tests.integration.api.conftest import MODEL_FILES, Server, Tenant, error_of, serve

BIG = MODEL_FILES["model.safetensors"]


@pytest.fixture(scope="module")
def proxy(environment: dict[str, str], server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second API on the same rows, whose clients cannot reach the store."""
    log = tmp_path_factory.mktemp("proxy") / "uvicorn.log"
    with serve({**environment, "PALATE_DOWNLOADS": "proxy"}, log) as running:
        yield running
    assert "not caught" not in log.read_text()


@pytest.fixture
def fine_tuned(tenant: Tenant, base_model: str) -> str:
    """The name of a checkpoint of a cancelled job."""
    job = tenant.sdk.fine_tuning.jobs.create(model=base_model, training_file=tenant.upload(), suffix="s").id
    manifest = Manifest(files=[FileEntry(path="config.json", bytes=1, sha256="0" * 64)])
    with transaction() as session:
        row = jobs.locked(session, job)
        made = checkpoints.commit(session, row, epoch=1, step=5, prefix=f"jobs/{job}/", manifest=manifest, metrics={})
        name = made.name
    tenant.sdk.fine_tuning.jobs.cancel(job)
    return name


def test_list_and_get(tenant: Tenant, base_model: str, fine_tuned: str) -> None:
    assert {each.id for each in tenant.sdk.models.list()} >= {base_model, fine_tuned}
    for name in (base_model, fine_tuned):
        model = tenant.sdk.models.retrieve(name)
        assert (model.id, model.object, model.owned_by) == (name, "model", tenant.project_id)
        for path in (name, quote(name), quote(name, safe="")):
            assert tenant.http.get(f"/v1/models/{path}").json()["id"] == name


def test_the_manifest_and_the_bytes(tenant: Tenant, base_model: str) -> None:
    for name in (base_model, quote(base_model, safe="")):
        listed = tenant.http.get(f"/v1/models/{name}/files").json()
        assert {each["path"]: each["bytes"] for each in listed["data"]} == {k: len(v) for k, v in MODEL_FILES.items()}
        for each in listed["data"]:
            got = tenant.http.get(f"/v1/models/{name}/files/{each['path']}", follow_redirects=True)
            assert hashlib.sha256(got.content).hexdigest() == each["sha256"]
    first = tenant.http.get(f"/v1/models/{base_model}/files/model.safetensors")
    assert first.status_code == 302
    missing = tenant.http.get(f"/v1/models/{base_model}/files/../config.json%00")
    assert missing.status_code in (400, 404)
    assert error_of(tenant.http.get(f"/v1/models/{base_model}/files/nothing"))["code"] == "model_file_not_found"


@pytest.mark.parametrize(
    ("asked", "status", "got"),
    [
        (None, 200, BIG),
        ("bytes=0-9", 206, BIG[:10]),
        ("bytes=1000000-", 206, BIG[1_000_000:]),
        ("bytes=-5", 206, BIG[-5:]),
        ("bytes=10-99999999", 206, BIG[10:]),
        ("bytes=0-1,5-6", 200, BIG),
        ("lines=1-2", 200, BIG),
        ("bytes=9-2", 200, BIG),
    ],
)
def test_ranges_through_the_proxy(
    proxy: Server, tenant: Tenant, base_model: str, asked: str | None, status: int, got: bytes
) -> None:
    answer = fetch(proxy, tenant, base_model, **({"range": asked} if asked else {}))
    assert (answer.status_code, answer.content) == (status, got)
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_range_behind_the_end(proxy: Server, tenant: Tenant, base_model: str) -> None:
    for asked in ("bytes=1280000-", "bytes=-0"):
        answer = fetch(proxy, tenant, base_model, range=asked)
        assert (answer.status_code, error_of(answer)["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["content-range"] == "bytes */1280000"


def test_a_range_of_what_has_changed(proxy: Server, tenant: Tenant, base_model: str) -> None:
    etag = fetch(proxy, tenant, base_model).headers["etag"]
    same = fetch(proxy, tenant, base_model, range="bytes=0-9", **{"if-range": etag})
    other = fetch(proxy, tenant, base_model, range="bytes=0-9", **{"if-range": '"x"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_a_file_through_the_proxy(proxy: Server, tenant: Tenant) -> None:
    file = tenant.upload(b"x" * 3_000_000)
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=tenant.token, max_retries=0) as sdk:
        assert sdk.files.content(file).read() == b"x" * 3_000_000


def fetch(server: Server, tenant: Tenant, model: str, **headers: str) -> httpx.Response:
    url = f"{server.url}/v1/models/{model}/files/model.safetensors"
    return httpx.get(url, headers={"authorization": f"Bearer {tenant.token}", **headers})


def test_deleting(tenant: Tenant, base_model: str, fine_tuned: str) -> None:
    with pytest.raises(openai.BadRequestError):
        tenant.sdk.models.delete(base_model)
    answer = tenant.sdk.models.delete(fine_tuned)
    assert (answer.id, answer.object, answer.deleted) == (fine_tuned, "model", True)
    with pytest.raises(openai.NotFoundError):
        tenant.sdk.models.retrieve(fine_tuned)
    with transaction() as session:
        assert session.query(Task).filter(Task.kind == "delete_objects", Task.subject.startswith("jobs/")).count() >= 1


def test_a_model_in_use_stays(tenant: Tenant, fine_tuned: str) -> None:
    job = tenant.sdk.fine_tuning.jobs.create(model=fine_tuned, training_file=tenant.upload())
    with pytest.raises(openai.ConflictError) as refused:
        tenant.sdk.models.delete(fine_tuned)
    assert (refused.value.code, job.id in refused.value.message) == ("in_use", True)


def test_a_checkpoint_stays_until_its_job_has_ended(tenant: Tenant, fine_tuned: str) -> None:
    """It may become the job's model: deleted before, a job could succeed without its bytes."""
    with transaction() as session:
        job = session.get_one(Job, models.by_name(session, tenant.project_id, fine_tuned).job_id)
        ended, job.finished_at = job.finished_at, None
    with pytest.raises(openai.ConflictError) as refused:
        tenant.sdk.models.delete(fine_tuned)
    assert (refused.value.code, job.id in refused.value.message) == ("in_use", True)
    with transaction() as session:
        session.execute(update(Job).where(Job.id == job.id).values(finished_at=ended))
    assert tenant.sdk.models.delete(fine_tuned).deleted
