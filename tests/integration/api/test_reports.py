"""What was found in a file, over the API: as JSON, as a page, as lines to download; with a model, token by token."""

import json

import pytest

from core import ids
from core.contract.findings import finding
from core.contract.job_spec import DpoHyperparameters
from core.contract.run_spec import Fatal, Inspection, Lengths
from core.db import admission, events, files, models, verdicts
from core.db.engine import transaction
from core.db.tables import BadLine
from preferences.report import Report
from tests.integration.api.conftest import Tenant, error_of
from tests.unit.planning.known import INSPECTION
from tests.unit.preferences.page.previews import previews
from tests.unit.preferences.page.reports import full, refused

HTML = {"accept": "text/html"}
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def judged(tenant: Tenant, report: Report) -> str:
    file_id, told = tenant.upload(), report.model_dump(mode="json")
    with transaction() as session:
        if report.error:
            files.refused(session, file_id, code=report.error.code, details=report.error.message, report=told)
        else:
            digest = ids.row_id()
            files.processed(
                session, file_id, report=told, canonical_digest=digest, records=2984, kind="pair", details=None
            )
    return file_id


def inspected(tenant: Tenant, file_id: str, model: str, inspection: Inspection) -> None:
    """With the settings that a job leaves at `auto`."""
    with transaction() as session:
        file, row = files.get(session, tenant.project_id, file_id), models.by_name(session, tenant.project_id, model)
        asked, loss = verdicts.resolved(session, DpoHyperparameters(), file)
        payload = admission.inspection_of(file.project_id, file.canonical_digest or "", row, asked, loss)
        admission.store_inspection(session, admission.inspection_key(payload), inspection)


@pytest.mark.parametrize("headers", [HTML, BROWSER])
def test_who_prefers_a_page_gets_one(tenant: Tenant, headers: dict[str, str]) -> None:
    file_id = judged(tenant, full())
    answer = tenant.http.get(f"/v1/files/{file_id}/report", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"
    )
    assert "Examples side by side" in answer.text
    assert "support-and-forum.jsonl.gz" in answer.text


def test_json_stays_the_default(tenant: Tenant) -> None:
    file_id = judged(tenant, full())
    for accept in ("*/*", "application/json", "application/json, text/html"):
        answer = tenant.http.get(f"/v1/files/{file_id}/report", headers={"accept": accept})
        assert answer.json() == full().model_dump(mode="json") | {"file_id": file_id, "status": "processed"}


def test_a_page_before_the_checks_end_asks_again(tenant: Tenant) -> None:
    answer = tenant.http.get(f"/v1/files/{tenant.upload()}/report", headers=HTML)
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "1")
    assert 'http-equiv="refresh"' in answer.text


def test_a_page_of_a_refused_file_and_of_one_that_could_not_be_checked(tenant: Tenant) -> None:
    page = tenant.http.get(f"/v1/files/{judged(tenant, refused())}/report", headers=HTML).text
    assert "not usable" in page
    file_id = tenant.upload()
    with transaction() as session:
        files.refused(session, file_id, code="validation_crashed", details="The validator crashed three times.")
    page = tenant.http.get(f"/v1/files/{file_id}/report", headers=HTML).text
    assert "The validator crashed three times." in page


def test_every_bad_line_can_be_downloaded(tenant: Tenant) -> None:
    report = refused()
    report.errors = [report.errors[n % 20].model_copy(update={"line": n + 1}) for n in range(10_000)]
    file_id = judged(tenant, report)
    answer = tenant.http.get(f"/v1/files/{file_id}/errors.jsonl")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert f'filename="{file_id}.errors.jsonl"' in answer.headers["content-disposition"]
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["line"] for row in rows] == list(range(1, 10_001))
    assert set(rows[0]) == {"line", "column", "path", "code", "message", "hint", "excerpt"}
    asked = tenant.http.get(f"/v1/files/{file_id}/errors", headers={"accept": "application/x-ndjson"})
    assert asked.text == answer.text
    assert tenant.http.get(f"/v1/files/{file_id}/errors").json()["has_more"] is True
    assert tenant.http.get(f"/v1/files/{tenant.upload()}/errors.jsonl").text == ""


def test_bad_lines_are_read_by_page(tenant: Tenant) -> None:
    """What stands in the file's row stays small, however many there are."""
    report = refused()
    every = [report.errors[n % 20].model_copy(update={"line": n + 1, "code": f"code{n % 7}"}) for n in range(10_000)]
    report.errors = every
    file_id = judged(tenant, report)
    url = f"/v1/files/{file_id}/errors"
    seen: list[int] = []
    behind: dict[str, str] = {}
    for _ in range(3):
        page = tenant.http.get(url, params={"limit": "50", "code": "code3"} | behind).json()
        assert page["has_more"]
        seen += [each["line"] for each in page["data"]]
        behind = {"after": page["data"][-1]["id"]}
    assert seen == [n + 1 for n in range(10_000) if n % 7 == 3][:150]
    last = tenant.http.get(url, params={"after": "9999", "limit": 5}).json()
    assert ([each["id"] for each in last["data"]], last["has_more"]) == (["10000"], False)
    for nowhere in ("10001", "0", "x", "9" * 12):
        answer = tenant.http.get(url, params={"after": nowhere})
        assert (answer.status_code, error_of(answer)["param"]) == (400, "after")
    assert len(tenant.http.get(f"/v1/files/{file_id}/report").json()["errors"]) == 100
    with transaction() as session:
        assert len((files.get(session, tenant.project_id, file_id).report or {})["errors"]) == 100
    assert tenant.http.delete(f"/v1/files/{file_id}").status_code == 200
    with transaction() as session:
        assert session.query(BadLine).filter_by(file_id=file_id).count() == 0


def test_files_judged_before_there_were_pages_are_read_alike(tenant: Tenant) -> None:
    file_id, report = judged(tenant, full()), refused()
    with transaction() as session:
        file = files.get(session, tenant.project_id, file_id)
        file.report = report.model_dump(mode="json")
        session.query(BadLine).filter_by(file_id=file_id).delete()
    url = f"/v1/files/{file_id}/errors"
    page = tenant.http.get(url, params={"limit": 3, "after": "2"}).json()
    assert [each["id"] for each in page["data"]] == ["3", "4", "5"]
    assert page["data"][0]["message"] == report.errors[2].message
    lines = tenant.http.get(f"{url}.jsonl").text.splitlines()
    assert [json.loads(line) for line in lines] == report.model_dump(mode="json")["errors"]


def test_another_project_sees_nothing(tenant: Tenant, tenants: object) -> None:
    file_id = judged(tenant, full())
    other = tenants()  # type: ignore[operator]
    for path in ("report", "errors", "errors.jsonl", "preview?model=x"):
        answer = other.http.get(f"/v1/files/{file_id}/{path}", headers=HTML)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "file_not_found")


CUT = finding("truncation", 0.6, count=1790, share=0.6)
SEEN = INSPECTION.model_copy(
    update={
        "checks": [CUT],
        "previews": previews(),
        "lengths": {"prompt": Lengths(median=31, p95=80, max=400)},
        "problem_counts": {"too_long": 4},
    }
)


def test_a_model_adds_what_its_tokenizer_shows(tenant: Tenant, model: str) -> None:
    file_id, path = judged(tenant, full()), f"/v1/files/{{}}/report?model={model}"
    waiting = tenant.http.get(path.format(file_id))
    assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "1")
    assert waiting.json()["status"] == "computing"
    inspected(tenant, file_id, model, SEEN)
    told = tenant.http.get(path.format(file_id)).json()
    assert [each["code"] for each in told["checks"] if each["severity"] == "block"] == ["contradictions", "truncation"]
    assert told["verdict"]["score"] < full().verdict.score  # type: ignore[union-attr]
    assert told["inspection"] == {
        "model": model,
        "max_length": 512,
        "records": 100,
        "usable": 100,
        "problems": {"too_long": 4},
        "lengths": {"prompt": {"median": 31, "p95": 80, "max": 400}},
        "error": None,
    }
    page = tenant.http.get(path.format(file_id), headers=HTML).text
    assert "Truncation" in page
    assert "at most 512 tokens" in page
    assert "checks" not in tenant.http.get(path.format(tenant.upload())).json()


def test_a_job_adds_what_its_reference_model_shows(tenant: Tenant, model: str) -> None:
    file_id = judged(tenant, full())
    body = {"model": model, "training_file": file_id, "palate": {"accept": ["contradictions"]}}
    job_id = tenant.http.post("/v1/fine_tuning/jobs", json=body).json()["id"]
    path = f"/v1/files/{file_id}/report"
    before = tenant.http.get(path).json()
    assert tenant.http.get(path, params={"job": job_id}).json() == before
    for value in (0.4, 0.1):  # a later attempt's is what holds
        said = finding("reference_agreement", value, count=3, share=value).model_dump(mode="json")
        with transaction() as session:
            events.append(session, job_id, events.NewEvent("The data", data={"findings": [said]}))
    told = tenant.http.get(path, params={"job": job_id}).json()
    (agreement,) = (each for each in told["checks"] if each["code"] == "reference_agreement")
    assert (agreement["value"], agreement["severity"]) == (0.1, "warn")
    assert told["verdict"]["score"] < before["verdict"]["score"]
    assert "eference" in tenant.http.get(path, params={"job": job_id}, headers=HTML).text
    other = tenant.http.get(f"/v1/files/{judged(tenant, full())}/report", params={"job": job_id})
    assert (other.status_code, error_of(other)["param"]) == (400, "job")
    assert file_id in error_of(other)["message"]
    unknown = tenant.http.get(path, params={"job": "ftjob-none"})
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "job_not_found")


def test_a_job_adds_what_its_inspection_shows(tenant: Tenant, model: str) -> None:
    """With the job's own settings, not those of another's."""
    file_id = judged(tenant, full())
    body = {"model": model, "training_file": file_id, "palate": {"accept": ["contradictions"]}}
    job_id = tenant.http.post("/v1/fine_tuning/jobs", json=body).json()["id"]
    path = f"/v1/files/{file_id}/report"
    assert tenant.http.get(path, params={"job": job_id}).json() == tenant.http.get(path).json()
    health = finding("template_health", 0.0, severity="warn", action="It runs on.")
    inspected(tenant, file_id, model, SEEN.model_copy(update={"checks": [CUT, health]}))
    said = finding("reference_agreement", 0.1).model_dump(mode="json")
    with transaction() as session:
        events.append(session, job_id, events.NewEvent("The data", data={"findings": [said]}))
    for more in ({}, {"model": model}):
        told = tenant.http.get(path, params={"job": job_id, **more}).json()
        codes = [each["code"] for each in told["checks"]]
        for code in ("truncation", "template_health", "reference_agreement"):
            assert codes.count(code) == 1
        assert (told["inspection"]["model"], told["inspection"]["max_length"]) == (model, 512)
    page = tenant.http.get(path, params={"job": job_id}, headers=HTML).text
    assert "It runs on." in page
    other = body | {"method": {"type": "dpo", "dpo": {"hyperparameters": {"max_length": 64}}}}
    other_id = tenant.http.post("/v1/fine_tuning/jobs", json=other).json()["id"]
    told = tenant.http.get(path, params={"job": other_id}).json()
    assert (told["inspection"], "truncation" in [each["code"] for each in told["checks"]]) == (None, False)


def test_a_preview_is_computed_and_then_shown(tenant: Tenant, model: str) -> None:
    file_id, path = judged(tenant, full()), f"/v1/files/{{}}/preview?model={model}"
    assert tenant.http.get(path.format(tenant.upload())).status_code == 202
    waiting = tenant.http.get(path.format(file_id))
    assert (waiting.status_code, waiting.headers["retry-after"]) == (202, "1")
    assert 'http-equiv="refresh"' in tenant.http.get(path.format(file_id), headers=HTML).text
    inspected(tenant, file_id, model, SEEN)
    told = tenant.http.get(path.format(file_id) + "&limit=2").json()
    assert (told["object"], told["file_id"], told["model"], told["max_length"]) == (
        "file.preview",
        file_id,
        model,
        512,
    )
    assert told["data"] == [each.model_dump(mode="json") for each in previews()[:2]]
    assert (told["has_more"], told["error"], told["loss"]) == (True, None, "sigmoid_norm")
    page = tenant.http.get(path.format(file_id), headers=HTML).text
    assert "what the trainer sees" in page
    assert page.count("<script") == 0


def test_a_preview_of_what_cannot_be_trained_says_why(tenant: Tenant, model: str) -> None:
    file_id = judged(tenant, full())
    fatal = Fatal(code="no_chat_template", message="The model has no chat template.", param="model")
    inspected(tenant, file_id, model, INSPECTION.model_copy(update={"fatal": fatal}))
    told = tenant.http.get(f"/v1/files/{file_id}/preview?model={model}").json()
    assert told["error"] == {"code": "no_chat_template", "message": "The model has no chat template."}
    assert "no_chat_template" in tenant.http.get(f"/v1/files/{file_id}/preview?model={model}", headers=HTML).text
    told = tenant.http.get(f"/v1/files/{file_id}/report?model={model}").json()
    assert told["inspection"]["error"]["code"] == "no_chat_template"


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("", "missing_required_parameter", "model"),
        ("?model=nobody", "model_not_found", "model"),
        ("?model={}&limit=0", "out_of_range", "limit"),
        ("?model={}&limit=21", "out_of_range", "limit"),
    ],
)
def test_a_bad_question_is_named(tenant: Tenant, model: str, query: str, code: str, param: str) -> None:
    answer = tenant.http.get(f"/v1/files/{judged(tenant, full())}/preview{query.format(model)}")
    assert (answer.status_code, error_of(answer)["code"], error_of(answer)["param"]) == (400, code, param)


def test_a_refused_file_has_no_preview(tenant: Tenant, model: str) -> None:
    answer = tenant.http.get(f"/v1/files/{judged(tenant, refused())}/preview?model={model}")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_training_file")
