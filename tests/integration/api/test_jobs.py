"""Jobs, by the unmodified SDK; without a worker they stay where creation put them."""

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from core.contract.manifest import FileEntry, Manifest
from core.contract.states import JobState
from core.db import checkpoints, jobs, metrics, rank_logs
from core.db.engine import transaction
from core.db.events import NewEvent, append
from core.db.tables import Attempt, Job
from tests.integration.api.conftest import Tenant, error_of


def dpo(**hyperparameters: object) -> dict[str, object]:
    return {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}


METHOD = dpo(beta=0.2, n_epochs=2)


def create(tenant: Tenant, model: str, **more: object) -> FineTuningJob:
    return tenant.sdk.fine_tuning.jobs.create(model=model, training_file=tenant.upload(), **more)  # type: ignore[arg-type]


def test_every_key_is_there(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model, method=METHOD, suffix="mine", metadata={"k": "v"}, seed=7)
    assert job.id.startswith("ftjob-")
    assert (job.object, job.status, job.seed, job.metadata) == ("fine_tuning.job", "validating_files", 7, {"k": "v"})
    assert job.organization_id == tenant.project_id
    assert job.hyperparameters.n_epochs == 2
    assert job.method is not None
    assert job.method.dpo is not None
    assert job.method.dpo.hyperparameters is not None
    assert (job.method.dpo.hyperparameters.beta, job.method.dpo.hyperparameters.batch_size) == (0.2, "auto")
    raw = tenant.http.get(f"/v1/fine_tuning/jobs/{job.id}").json()
    nulls = ["finished_at", "fine_tuned_model", "validation_file", "trained_tokens", "error", "estimated_finish"]
    assert [name for name, value in raw.items() if value is None] == sorted(nulls, key=list(raw).index)
    assert (raw["result_files"], raw["integrations"]) == ([], [])
    assert set(raw["palate"]) == {"version", "phase", "progress", "queue", "attempt", "data"}
    assert tenant.sdk.fine_tuning.jobs.retrieve(job.id) == job


def test_a_seed_is_invented(tenant: Tenant, base_model: str) -> None:
    assert create(tenant, base_model).seed != create(tenant, base_model).seed


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"model": "nobody"}, "model_not_found", "model"),
        ({"training_file": "file-nobody"}, "file_not_found", "training_file"),
        ({"validation_file": "file-nobody"}, "file_not_found", "validation_file"),
        ({"method": {"type": "supervised"}}, "unsupported_method", "method.type"),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}},
            "out_of_range",
            "method.dpo.hyperparameters.beta",
        ),
        ({"extra_body": {"modle": "x"}}, "unknown_parameter", "modle"),
        ({"extra_body": {"palate": {"resources": {"nodes": 2}}}}, "unsupported_resources", "palate.resources.nodes"),
        ({"extra_body": {"palate": {"resources": {"gpu": 2}}}}, "unknown_parameter", "palate.resources.gpu"),
        ({"metadata": {"k": "v" * 513}}, "out_of_range", "metadata.k"),
    ],
)
def test_what_is_refused(tenant: Tenant, base_model: str, more: dict[str, object], code: str, param: str) -> None:
    wanted = {"model": base_model, "training_file": tenant.upload(), **more}
    with pytest.raises(openai.BadRequestError) as refused:
        tenant.sdk.fine_tuning.jobs.create(**wanted)  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.param) == (code, param)
    assert list(tenant.sdk.fine_tuning.jobs.list()) == []


def test_the_list_and_its_filters(tenant: Tenant, base_model: str) -> None:
    plain = create(tenant, base_model).id
    one = create(tenant, base_model, metadata={"team": "a", "run": "1"}).id
    two = create(tenant, base_model, metadata={"team": "a", "run": "2"}).id
    assert [each.id for each in tenant.sdk.fine_tuning.jobs.list(limit=1)] == [two, one, plain]
    assert [each.id for each in tenant.sdk.fine_tuning.jobs.list(metadata={"team": "a"})] == [two, one]
    assert [each.id for each in tenant.sdk.fine_tuning.jobs.list(metadata={"team": "a", "run": "1"})] == [one]
    nothing = tenant.http.get("/v1/fine_tuning/jobs", params={"metadata": "null"}).json()
    assert [each["id"] for each in nothing["data"]] == [plain]
    for params, param in (({"after": "ftjob-nobody"}, "after"), ({"limit": 101}, "limit"), ({"limit": "x"}, "limit")):
        refused = tenant.http.get("/v1/fine_tuning/jobs", params=params)
        assert (refused.status_code, error_of(refused)["param"]) == (400, param)


def test_cancel_once_twice_and_too_late(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model)
    assert tenant.sdk.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    again = tenant.sdk.fine_tuning.jobs.cancel(job.id)
    assert (again.status, again.finished_at is not None) == ("cancelled", True)
    other = create(tenant, base_model).id
    with transaction() as session:
        jobs.fail(session, jobs.locked(session, other), code="diverged", message="NaN at step 3.", param=None)
    refused = tenant.http.post(f"/v1/fine_tuning/jobs/{other}/cancel")
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    assert error_of(refused)["code"] == "job_not_cancellable"
    failed = tenant.sdk.fine_tuning.jobs.retrieve(other)
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.param) == ("failed", "diverged", None)


def test_a_file_in_use_stays(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model)
    with pytest.raises(openai.ConflictError) as refused:
        tenant.sdk.files.delete(job.training_file)
    assert refused.value.code == "in_use"
    assert job.id in refused.value.message
    assert refused.value.response.headers["x-should-retry"] == "false"
    tenant.sdk.fine_tuning.jobs.cancel(job.id)
    tenant.sdk.files.delete(job.training_file)


def test_events_newest_first(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model).id
    with transaction() as session:
        append(session, job, NewEvent("one", data={"step": 1}, type="metrics"), NewEvent("two", level="warn"))
    events = list(tenant.sdk.fine_tuning.jobs.list_events(job, limit=1))
    assert [each.message for each in events][:2] == ["two", "one"]
    assert events[-1].message == f"Created fine-tuning job: {job}"
    assert (events[1].type, events[1].data, events[0].level) == ("metrics", {"step": 1}, "warn")
    refused = tenant.http.get(f"/v1/fine_tuning/jobs/{job}/events", params={"after": "ftevent-nobody"})
    assert (refused.status_code, error_of(refused)["param"]) == (400, "after")


def test_metrics_logs_and_checkpoints(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model).id
    assert list(tenant.sdk.fine_tuning.jobs.checkpoints.list(job)) == []
    assert tenant.http.get(f"/v1/fine_tuning/jobs/{job}/metrics").json() == {"step": []}
    assert tenant.http.get(f"/v1/fine_tuning/jobs/{job}/logs").json()["data"] == []
    with transaction() as session:
        metrics.record(session, job, [(n, "train", {"train_loss": 1 / n, "rewards/chosen": n}) for n in (1, 2, 3)])
        rank_logs.write(session, job, 1, 0, "a\nb\nc\n")
        manifest = Manifest(files=[FileEntry(path="config.json", bytes=1, sha256="0" * 64)])
        row = jobs.locked(session, job)
        for step in (5, 10):
            checkpoints.commit(
                session, row, epoch=1, step=step, prefix=f"x/{step}/", manifest=manifest, metrics={"train_loss": 0.5}
            )
    columns = tenant.http.get(f"/v1/fine_tuning/jobs/{job}/metrics?name=train_loss&since_step=1").json()
    assert columns == {"step": [2, 3], "train_loss": [1 / 2, 1 / 3]}
    logs = tenant.http.get(f"/v1/fine_tuning/jobs/{job}/logs?tail=2").json()
    assert [(each["rank"], each["lines"]) for each in logs["data"]] == [(0, ["b", "c"])]
    found = list(tenant.sdk.fine_tuning.jobs.checkpoints.list(job, limit=1))
    assert [each.step_number for each in found] == [10, 5]
    assert found[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-10")
    assert (found[0].metrics.train_loss, found[0].metrics.step) == (0.5, 10)
    model = tenant.sdk.models.retrieve(found[0].fine_tuned_model_checkpoint)
    assert model.owned_by == tenant.project_id


def test_a_running_job_as_its_worker_sees_it(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model, method=METHOD).id
    with transaction() as session:
        row = jobs.locked(session, job)
        jobs.move(session, row, JobState.QUEUED, NewEvent("Queued."))
    assert tenant.http.get(f"/v1/fine_tuning/jobs/{job}").json()["palate"]["queue"]["position"] >= 1
    with transaction() as session:
        jobs.move(session, jobs.locked(session, job), JobState.RUNNING, NewEvent("Started."), epoch=1)
        row = session.get_one(Job, job)
        session.add(Attempt(job_id=job, epoch=1, node="n1", owner="o", slots=2, lease_until=row.created_at))
        progress = {"step": 3, "total_steps": 30, "percent": 10.0, "pairs_per_second": 2.0, "eta_seconds": 60.0}
        resolved = {"beta": 0.2, "batch_size": 8, "n_epochs": 2, "learning_rate_multiplier": 1.0, "max_steps": None}
        jobs.show(session, job, progress=progress, resolved=resolved, phase="training")
    shown = tenant.http.get(f"/v1/fine_tuning/jobs/{job}").json()
    assert shown["palate"]["attempt"] == {"number": 1, "node": "n1", "world_size": 2, "resumed_from_step": None}
    assert shown["palate"]["progress"] == progress | {"phase_done": None, "phase_total": None}
    assert shown["palate"]["phase"] == "training"
    assert shown["hyperparameters"]["batch_size"] == shown["method"]["dpo"]["hyperparameters"]["batch_size"] == 8
    assert shown["estimated_finish"] > shown["created_at"]
    cancelling = tenant.http.post(f"/v1/fine_tuning/jobs/{job}/cancel").json()
    assert (cancelling["status"], cancelling["palate"]["phase"]) == ("running", "cancelling")


def test_the_deprecated_settings_serve(tenant: Tenant, base_model: str) -> None:
    job = create(tenant, base_model, hyperparameters={"n_epochs": 3, "batch_size": "auto"})
    assert job.hyperparameters.n_epochs == 3
    assert job.method is not None
    assert job.method.type == "dpo"
