"""What the data report says reaches the job: what blocks refuses it, what it recommends is what `auto` takes."""

from collections.abc import Callable
from typing import Any

import pytest

from core import ids
from core.contract.advice import Recommended
from core.contract.finding import Finding
from core.contract.findings import finding
from core.contract.preference import Kind
from core.contract.run_spec import Inspection
from core.db import admission, events, files, jobs, verdicts
from core.db.engine import transaction
from preferences.report import Report, Verdict
from tests.integration.api.conftest import Tenant, error_of
from tests.integration.api.test_plans import body, both, inspected
from tests.unit.planning.known import INSPECTION

JOBS, PLAN = "/v1/fine_tuning/jobs", "/v1/fine_tuning/plan"
TURNED = finding("contradictions", 0.2, count=20, share=0.2)
REPEATED = finding("exact_duplicates", 0.5, count=50, share=0.5)
CUT = finding("truncation", 0.9, count=90, share=0.9)
KEYS = finding("secrets", 0.01, count=1, share=0.01)
LEAK = finding("train_validation_leakage", 0.1, count=10, share=0.1)
Judge = Callable[..., str]


@pytest.fixture
def judge(tenant: Tenant) -> Judge:
    """A file whose checks found this; `file_id` of one that is waiting for them."""

    def make(*found: Finding, advised: Recommended | None = None, file_id: str = "", kind: Kind = "pair") -> str:
        file_id = file_id or tenant.upload()
        verdict = Verdict(gate="block", score=0, recommended=advised or Recommended())
        report = Report(digest="d", checks=list(found), verdict=verdict).model_dump(mode="json")
        with transaction() as session:
            digest = ids.row_id()
            files.processed(
                session, file_id, report=report, canonical_digest=digest, records=100, kind=kind, details=None
            )
        return file_id

    return make


def told(job_id: str) -> list[str]:
    """Messages of the job's events, oldest first."""
    with transaction() as session:
        return [each.message for each in events.page(session, job_id, None, 20)[0]][::-1]


def checked(*found: Finding) -> Inspection:
    return INSPECTION.model_copy(update={"checks": list(found)})


def test_a_finding_that_blocks_refuses_the_job_by_its_code(tenant: Tenant, model: str, judge: Judge) -> None:
    file_id = judge(TURNED, REPEATED)
    for refused in both(tenant, body(model, file_id)):
        error = error_of(refused)
        assert (refused.status_code, error["code"], error["param"]) == (400, "contradictions", "training_file")
        assert 'palate.accept = ["contradictions"]' in error["message"]
        assert file_id in error["message"]
    assert list(tenant.sdk.fine_tuning.jobs.list()) == []


@pytest.mark.parametrize("raw", ["training_file", "validation_file"])
def test_raw_texts_are_not_judged_on_chats(tenant: Tenant, model: str, judge: Judge, raw: str) -> None:
    named = {
        each: judge(file_id=tenant.upload(**({"palate[raw_text]": "true"} if each == raw else {})))
        for each in ("training_file", "validation_file")
    }
    for refused in both(tenant, body(model, named["training_file"]) | named):
        error = error_of(refused)
        assert (refused.status_code, error["code"], error["param"]) == (400, "raw_text_mixed", "validation_file")
        assert f"`{raw}` is a file of raw texts" in error["message"]


def test_what_the_user_accepts_is_trained_on_and_recorded(tenant: Tenant, model: str, judge: Judge) -> None:
    file_id = judge(TURNED, REPEATED)
    inspected(tenant, file_id, model)
    wanted = body(model, file_id, {"accept": ["contradictions", "cycles"]})
    assert tenant.http.post(PLAN, json=wanted).status_code == 200
    job = tenant.http.post(JOBS, json=wanted).json()
    assert job["status"] == "queued"
    assert [each for each in told(job["id"]) if "palate.accept" in each] == [
        "Findings that palate.accept takes as they are: contradictions (20 records, 20.0%)."
    ]


def test_a_job_that_waits_for_the_checks_fails_with_the_same_code(
    tenant: Tenant,
    model: str,
    judge: Judge,
) -> None:
    file_id = tenant.upload()
    ids_of = [
        tenant.http.post(JOBS, json=body(model, file_id, {"accept": accept})).json()["id"]
        for accept in ([], ["contradictions"])
    ]
    judge(TURNED, file_id=file_id)
    with transaction() as session:
        for job_id in ids_of:
            admission.advance(session, job_id)
    refused, accepted = (tenant.http.get(f"{JOBS}/{job_id}").json() for job_id in ids_of)
    assert (refused["status"], refused["error"]["code"]) == ("failed", "contradictions")
    assert refused["error"]["param"] == "training_file"
    assert (accepted["status"], accepted["palate"]["phase"]) == ("validating_files", "inspecting")


@pytest.mark.parametrize("accept", [["contradiction"], ["all"], [""], "contradictions", [1]])
def test_an_acceptance_that_is_none_is_refused(tenant: Tenant, model: str, judge: Judge, accept: Any) -> None:
    for refused in both(tenant, body(model, judge(), {"accept": accept})):
        assert refused.status_code == 400
        assert error_of(refused)["param"].startswith("palate.accept")


def test_what_the_inspection_finds_blocks_as_well(tenant: Tenant, model: str, judge: Judge) -> None:
    file_id = judge()
    inspected(tenant, file_id, model, checked(CUT))
    job = tenant.http.post(JOBS, json=body(model, file_id)).json()
    assert (job["status"], job["error"]["code"], job["error"]["param"]) == ("failed", "truncation", "training_file")
    assert error_of(tenant.http.post(PLAN, json=body(model, file_id)))["code"] == "truncation"
    job = tenant.http.post(JOBS, json=body(model, file_id, {"accept": ["truncation"]})).json()
    assert job["status"] == "queued"
    assert any("truncation (90 records, 90.0%)" in each for each in told(job["id"]))


def test_what_the_template_does_is_an_event_of_the_job(tenant: Tenant, model: str, judge: Judge) -> None:
    file_id = judge()
    runs_on = finding("template_health", 0.0, severity="warn", action="Answers end in '<|im_end|>'; it runs on.")
    inspected(tenant, file_id, model, checked(runs_on))
    job_id = tenant.http.post(JOBS, json=body(model, file_id)).json()["id"]
    with transaction() as session:
        (event,) = (each for each in events.page(session, job_id, None, 20)[0] if "runs on" in each.message)
    assert event.message == "`training_file` with this model: template_health. Answers end in '<|im_end|>'; it runs on."
    assert (event.level, (event.data or {})["code"]) == ("warn", "template_health")
    clean = judge()
    inspected(tenant, clean, model, checked(finding("template_health", 0.0)))
    job_id = tenant.http.post(JOBS, json=body(model, clean)).json()["id"]
    assert not [each for each in told(job_id) if "Template health" in each]


def test_of_what_the_inspection_finds_in_held_out_data_only_a_leak_blocks(
    tenant: Tenant, model: str, judge: Judge
) -> None:
    training, leaking, poor = judge(), judge(REPEATED), judge(REPEATED, KEYS)
    inspected(tenant, training, model)
    for file_id, found in ((leaking, LEAK), (poor, CUT)):
        inspected(tenant, file_id, model, checked(found), against=training)
    assert tenant.http.post(JOBS, json=body(model, training) | {"validation_file": poor}).json()["status"] == "queued"
    wanted = body(model, training) | {"validation_file": leaking}
    job = tenant.http.post(JOBS, json=wanted).json()
    assert (job["error"]["code"], job["error"]["param"]) == ("train_validation_leakage", "validation_file")
    assert (
        tenant.http.post(JOBS, json=wanted | {"palate": {"accept": ["train_validation_leakage"]}}).json()["status"]
        == "queued"
    )


def test_held_out_data_whose_figures_would_say_nothing_refuses_the_job(
    tenant: Tenant, model: str, judge: Judge
) -> None:
    training, held_out = judge(TURNED), judge(TURNED)
    inspected(tenant, training, model)
    inspected(tenant, held_out, model, against=training)
    clean = body(model, judge()) | {"validation_file": held_out}
    for refused in both(tenant, clean):
        error = error_of(refused)
        assert (refused.status_code, error["code"], error["param"]) == (400, "contradictions", "validation_file")
        assert held_out in error["message"]
    wanted = body(model, training, {"accept": ["contradictions"]}) | {"validation_file": held_out}
    job = tenant.http.post(JOBS, json=wanted).json()
    assert job["status"] == "queued"
    assert any("contradictions (20 records, 20.0%), contradictions (20 records" in each for each in told(job["id"]))


ADVISED = Recommended(loss="sigmoid_norm", label_smoothing=0.08, why=["The chosen answers are longer."])


def test_auto_takes_what_the_report_recommends_and_says_so(tenant: Tenant, model: str, judge: Judge) -> None:
    file_id = judge(advised=ADVISED)
    inspected(tenant, file_id, model)
    plan = tenant.http.post(PLAN, json=body(model, file_id)).json()
    settings = {"loss": "sigmoid_norm", "label_smoothing": 0.08}
    assert plan["hyperparameters"] == plan["hyperparameters"] | settings
    assert plan["recommended"] == {"settings": settings, "why": ["The chosen answers are longer."]}
    job_id = tenant.http.post(JOBS, json=body(model, file_id)).json()["id"]
    assert (
        "`auto` takes what the data report recommends: loss sigmoid_norm, label_smoothing 0.08. "
        "The chosen answers are longer."
    ) in told(job_id)
    with transaction() as session:
        asked, loss = verdicts.of_job(session, jobs.get(session, tenant.project_id, job_id))
    assert (loss, asked.label_smoothing) == ("sigmoid_norm", 0.08)


def test_what_was_asked_is_never_touched(tenant: Tenant, model: str, judge: Judge) -> None:
    file_id = judge(advised=ADVISED)
    inspected(tenant, file_id, model)
    explicit = {"loss": "sigmoid", "beta": 0.1, "label_smoothing": 0.0}
    plan = tenant.http.post(PLAN, json=body(model, file_id, **explicit)).json()
    assert plan["hyperparameters"] == plan["hyperparameters"] | explicit
    assert plan["recommended"] is None
    job_id = tenant.http.post(JOBS, json=body(model, file_id, **explicit)).json()["id"]
    assert not [each for each in told(job_id) if "recommend" in each]
