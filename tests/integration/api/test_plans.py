"""Settings, losses, data and layers that do not go together are refused where they are known; the plan of the rest."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from core import ids, settings
from core.contract.choice import AT
from core.contract.job_spec import DpoHyperparameters
from core.contract.losses import LossName
from core.contract.preference import Kind
from core.contract.run_spec import Inspection, RowProblem, RunSpec
from core.db import admission, events, files, jobs, models, nodes
from core.db.engine import transaction
from core.db.tables import File, Node
from tests.integration.api.conftest import Tenant, error_of
from tests.unit.planning.known import CALIBRATION, GIB, INSPECTION, MODEL
from worker import node_facts
from worker.pace import Pace

Processed = Callable[..., str]
RUN = {"run_id": "r", "model_digest": "", "train_digest": "", "settings": {"batch_size": 5, "precision": "bf16"}}


@pytest.fixture
def processed(tenant: Tenant) -> Processed:
    """A file whose checks are done: its kind of data, its columns."""

    def make(kind: Kind = "pair", columns: tuple[str, ...] = (), **options: str) -> str:
        file_id = tenant.upload()
        with transaction() as session:
            session.get_one(File, file_id).options = dict(options)
        checked(file_id, kind, columns)
        return file_id

    return make


def checked(file_id: str, kind: Kind, columns: tuple[str, ...] = ()) -> None:
    about: dict[str, Any] = {"report": {}, "canonical_digest": ids.row_id(), "details": None}
    with transaction() as session:
        files.processed(session, file_id, records=100, kind=kind, columns=columns, **about)


@pytest.fixture
def node() -> Iterator[Callable[[float], None]]:
    """The only node that is known has one GPU of so many GiB."""

    def make(gibibytes: float) -> None:
        facts = {"device": "cuda", "device_name": "H100", "memory_bytes": int(gibibytes * GIB)}
        with transaction() as session:
            session.query(Node).delete()
            nodes.seen(session, "gpu-1", 1, 1, facts)

    yield make
    with transaction() as session:
        session.query(Node).delete()


def inspected(
    tenant: Tenant,
    file_id: str,
    model: str,
    inspection: Inspection = INSPECTION,
    loss: LossName = "sigmoid",
    against: str | None = None,
    **asked: Any,
) -> None:
    """`against`: the training file of a job that holds this one out."""
    with transaction() as session:
        file, row = files.get(session, tenant.project_id, file_id), models.by_name(session, tenant.project_id, model)
        wanted = DpoHyperparameters.model_validate(asked)
        other = files.get(session, tenant.project_id, against).canonical_digest if against else None
        payload = admission.inspection_of(file.project_id, file.canonical_digest or "", row, wanted, loss, other)
        admission.store_inspection(session, admission.inspection_key(payload), inspection)


def body(model: str, file_id: str, palate: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    found = {"model": model, "training_file": file_id, "method": {"type": "dpo", "dpo": {"hyperparameters": asked}}}
    return found | ({"palate": palate} if palate else {})


def test_what_an_earlier_version_saw_serves_only_jobs_that_it_queued(tenant: Tenant, model: str) -> None:
    file_id = tenant.upload()
    checked(file_id, "pairs")
    with transaction() as session:
        file, row = files.get(session, tenant.project_id, file_id), models.by_name(session, tenant.project_id, model)
        asked = DpoHyperparameters()
        payload = admission.inspection_of(file.project_id, file.canonical_digest or "", row, asked, "sigmoid")
        admission.store_inspection(session, admission.inspection_key(payload | {"renderer": 1}), INSPECTION)
        assert admission.inspect(session, file, row, asked, "sigmoid") is None
        assert (
            admission.stored_inspection(session, file.project_id, file.canonical_digest or "", row, asked) == INSPECTION
        )


def both(tenant: Tenant, wanted: dict[str, Any]) -> list[httpx.Response]:
    return [tenant.http.post(f"/v1/fine_tuning/{path}", json=wanted) for path in ("jobs", "plan")]


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"loss": "ipo", "label_smoothing": 0.1}, "setting_not_used", "label_smoothing"),
        ({"ld_alpha": 0.5}, "setting_not_used", "ld_alpha"),
        ({"loss": "exo_pair", "label_smoothing": 0}, "out_of_range", "label_smoothing"),
        ({"loss": "robust", "label_smoothing": 0.5}, "out_of_range", "label_smoothing"),
        ({"loss": "dpo"}, "invalid_value", "loss"),
        ({"loss": "orpo", "orpo_lambda": 0}, "out_of_range", "orpo_lambda"),
        ({"loss": "ld", "ld_alpha": 1.1}, "out_of_range", "ld_alpha"),
        ({"lora": {"r": 0}}, "out_of_range", "lora.r"),
        ({"lora": {"rank": 8}}, "unknown_parameter", "lora.rank"),
        ({"lora": {"target_modules": []}}, "out_of_range", "lora.target_modules"),
        ({"lora": {"target_modules": ["q_proj", "w_proj"]}}, "unknown_modules", "lora.target_modules.1"),
        ({"lora": {"target_modules": ["lm_head"]}}, "lora_unfit", "lora.target_modules.0"),
    ],
)
def test_settings_are_refused_at_creation(
    tenant: Tenant, model: str, asked: dict[str, Any], code: str, param: str
) -> None:
    for refused in both(tenant, body(model, tenant.upload(), **asked)):
        error = error_of(refused)
        assert (refused.status_code, error["code"], error["param"]) == (400, code, f"{AT}.{param}")
    assert list(tenant.sdk.fine_tuning.jobs.list()) == []


def test_an_adapter_is_exported_of_lora_only(tenant: Tenant, model: str) -> None:
    file_id, palate = tenant.upload(), {"export": ["adapter"]}
    refused = tenant.http.post("/v1/fine_tuning/jobs", json=body(model, file_id, palate))
    assert (refused.status_code, error_of(refused)["param"]) == (400, "palate.export")
    assert tenant.http.post("/v1/fine_tuning/jobs", json=body(model, file_id, palate, lora={})).status_code == 200


@pytest.mark.parametrize(
    ("kind", "columns", "asked", "param"),
    [
        ("unpaired", (), {"loss": "sigmoid"}, f"{AT}.loss"),
        ("ranking", (), {"loss": "kto"}, f"{AT}.loss"),
        ("pair", ("confidence",), {"loss": "hinge"}, f"{AT}.loss"),
        ("ranking", ("weight",), {"loss": "ipo"}, f"{AT}.loss"),
        ("pair", (), {"margin_weight": 1.0}, f"{AT}.margin_weight"),
    ],
)
def test_a_loss_that_the_data_cannot_serve(
    tenant: Tenant, model: str, processed: Processed, kind: Kind, columns: tuple[str, ...], asked: Any, param: str
) -> None:
    for refused in both(tenant, body(model, processed(kind, columns), **asked)):
        error = error_of(refused)
        assert (refused.status_code, error["code"], error["param"]) == (400, "loss_needs_other_data", param)


def test_what_shows_only_when_the_file_is_checked_fails_the_job(tenant: Tenant, model: str) -> None:
    file_id = tenant.upload()
    job = tenant.http.post("/v1/fine_tuning/jobs", json=body(model, file_id, loss="sigmoid")).json()
    assert job["status"] == "validating_files"
    checked(file_id, "unpaired")
    with transaction() as session:
        admission.advance(session, job["id"])
    failed = tenant.http.get(f"/v1/fine_tuning/jobs/{job['id']}").json()
    assert failed["status"] == "failed"
    assert (failed["error"]["code"], failed["error"]["param"]) == ("loss_needs_other_data", f"{AT}.loss")
    assert "kto" in failed["error"]["message"]


def test_single_answers_are_trained_with_kto(tenant: Tenant, model: str, processed: Processed) -> None:
    file_id = processed("unpaired")
    inspected(tenant, file_id, model, loss="kto")
    plan = tenant.http.post("/v1/fine_tuning/plan", json=body(model, file_id)).json()
    assert (plan["hyperparameters"]["loss"], plan["unit"]) == ("kto", "single")


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_a_template_that_fails_on_a_row(tenant: Tenant, model: str, processed: Processed, param: str) -> None:
    problems = [RowProblem(line=7, code="template_render_failed", message="The template raised: no such role.")]
    broken = INSPECTION.model_copy(update={"problems": problems, "problem_counts": {"template_render_failed": 1}})
    good, file_id, lenient = processed(), processed(), processed(on_error="skip")
    inspected(tenant, good, model)
    against = good if param == "validation_file" else None
    inspected(tenant, file_id, model, broken, against=against)
    inspected(tenant, lenient, model, broken, against=against)
    wanted = body(model, good)
    job = tenant.http.post("/v1/fine_tuning/jobs", json=wanted | {param: file_id}).json()
    assert (job["status"], job["error"]["code"]) == ("failed", "template_render_failed")
    assert (job["error"]["param"], "(line 7)" in job["error"]["message"]) == (param, True)
    refused = tenant.http.post("/v1/fine_tuning/plan", json=wanted | {param: file_id})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "template_render_failed")
    assert tenant.http.post("/v1/fine_tuning/jobs", json=wanted | {param: lenient}).json()["status"] == "queued"


def test_a_plan_is_ready_when_the_inspection_is(tenant: Tenant, model: str, processed: Processed) -> None:
    waiting = tenant.http.post("/v1/fine_tuning/plan", json=body(model, tenant.upload()))
    assert (waiting.status_code, waiting.headers["retry-after"], waiting.json()["status"]) == (202, "1", "computing")
    file_id = processed()
    assert tenant.http.post("/v1/fine_tuning/plan", json=body(model, file_id)).status_code == 202
    inspected(tenant, file_id, model)
    ready = tenant.http.post("/v1/fine_tuning/plan", json=body(model, file_id, beta=0.3, n_epochs=2))
    assert ready.status_code == 200, ready.text
    plan = ready.json()
    assert "auto" not in plan["hyperparameters"].values()
    assert (plan["hyperparameters"]["beta"], plan["examples"], plan["steps"]) == (0.3, 100, 20)
    assert plan["memory"]["total"] == sum(plan["memory"]["parts"].values())
    assert plan["seconds"]["whole"] > plan["seconds"]["training"] > 0
    assert list(tenant.sdk.fine_tuning.jobs.list()) == []


def test_what_cannot_fit_is_refused_once_a_node_is_known(
    tenant: Tenant, model: str, processed: Processed, node: Callable[[float], None]
) -> None:
    file_id = processed()
    inspected(tenant, file_id, model)
    node(4.5)
    plan = tenant.http.post("/v1/fine_tuning/plan", json=body(model, file_id)).json()
    assert (plan["memory"]["fits"], plan["memory"]["node"], plan["memory"]["available"]) == (False, "gpu-1", 4.5 * GIB)
    assert f"{AT}.lora" in [each["param"] for each in plan["advice"]]
    with pytest.raises(openai.BadRequestError) as refused:
        tenant.sdk.fine_tuning.jobs.create(model=model, training_file=file_id)
    assert refused.value.code == "does_not_fit"
    assert "LoRA" in refused.value.message
    assert tenant.http.post("/v1/fine_tuning/jobs", json=body(model, file_id, lora={})).status_code == 200
    assert len(list(tenant.sdk.fine_tuning.jobs.list())) == 1
    node(16)
    assert tenant.sdk.fine_tuning.jobs.create(model=model, training_file=file_id).status == "queued"


def test_a_model_too_large_for_every_node_needs_no_inspection(
    tenant: Tenant, model: str, node: Callable[[float], None]
) -> None:
    node(1)
    refused = tenant.http.post("/v1/fine_tuning/jobs", json=body(model, tenant.upload()))
    assert (refused.status_code, error_of(refused)["code"]) == (400, "does_not_fit")


def test_a_rate_outside_its_band_is_a_warning(tenant: Tenant, model: str, processed: Processed) -> None:
    file_id = processed()
    inspected(tenant, file_id, model)
    wanted = body(model, file_id, learning_rate=0.1)
    assert [each["param"] for each in tenant.http.post("/v1/fine_tuning/plan", json=wanted).json()["warnings"]] == [
        f"{AT}.learning_rate"
    ]
    job = tenant.http.post("/v1/fine_tuning/jobs", json=wanted).json()
    assert job["status"] == "queued"
    with transaction() as session:
        told = [each for each in events.page(session, job["id"], None, 10)[0] if each.level == "warn"]
        assert jobs.get(session, tenant.project_id, job["id"]).state == "queued"
    assert [(each.data or {})["param"] for each in told] == [f"{AT}.learning_rate"]


def test_what_was_measured_on_a_node_stays_when_it_is_seen_again(node: Callable[[float], None]) -> None:
    node(16)
    with transaction() as session:
        nodes.add_rate(session, "gpu-1", {"flops": 1.0})
        nodes.seen(session, "gpu-1", 1, 1, {"device": "cuda", "memory_bytes": 5})
    with transaction() as session:
        found = {each.name: each.facts for each in nodes.known(session)}["gpu-1"]
    assert (found["rates"], found["memory_bytes"]) == ([{"flops": 1.0}], 5)


def test_a_finished_job_calibrates_the_plan(
    tenant: Tenant, model: str, processed: Processed, node: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = processed()
    inspected(tenant, file_id, model)
    node(16)
    wanted = body(model, file_id)
    with transaction() as session:
        nodes.seen(session, "gpu-1", 1, 1, {"calibration": CALIBRATION.model_dump()})
    assert "calibrated" in tenant.http.post("/v1/fine_tuning/plan", json=wanted).json()["seconds"]["basis"]
    with transaction() as session:
        nodes.seen(session, "gpu-1", 1, 1, {"calibration": None})
    assert "assumed" in tenant.http.post("/v1/fine_tuning/plan", json=wanted).json()["seconds"]["basis"]
    monkeypatch.setenv("PALATE_NODE", "gpu-1")
    settings.worker.cache_clear()
    spec = RunSpec.model_validate(dict.fromkeys(("workspace", "model_dir", "train_data"), "/x") | RUN)
    pace = Pace(300.0, 1800.0)
    pace.seconds, pace.start, pace.end = [1.0] * 5, 7.0, 3.0
    node_facts.measured(spec, MODEL.model_dump(), INSPECTION, pace)
    assert "assumed" in tenant.http.post("/v1/fine_tuning/plan", json=wanted).json()["seconds"]["basis"]
    pace.seconds = [9.0, 9.0, 9.0, *[2.0] * 20]
    node_facts.measured(spec, MODEL.model_dump(), INSPECTION, pace)
    seconds = tenant.http.post("/v1/fine_tuning/plan", json=wanted).json()["seconds"]
    assert "measured" in seconds["basis"]
    assert (seconds["start"], seconds["training"], seconds["export"]) == pytest.approx((7.0, 20 * 2.0, 3.0))
