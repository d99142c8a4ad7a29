"""Files, by the unmodified SDK."""

import hashlib
import os

import httpx
import openai
import pytest

from core.db import files, tasks
from core.db.engine import transaction
from core.db.tables import File, Task
from tests.integration.api.conftest import Tenant, error_of


def test_a_file_comes_back_as_it_was_sent(tenant: Tenant) -> None:
    data = os.urandom(20 << 20)
    file = tenant.sdk.files.create(file=("räti o.jsonl", data), purpose="fine-tune")
    assert (file.bytes, file.filename, file.status, file.purpose) == (20 << 20, "räti o.jsonl", "uploaded", "fine-tune")
    assert tenant.sdk.files.retrieve(file.id) == file
    assert tenant.sdk.files.content(file.id).read() == data
    with transaction() as session:
        row = files.get(session, tenant.project_id, file.id)
        assert row.sha256 == hashlib.sha256(data).hexdigest()
        assert session.query(Task).filter_by(kind=tasks.TaskKind.VALIDATE_FILE, subject=file.id).count() == 1


def test_the_list_goes_on_page_by_page(tenant: Tenant) -> None:
    made = [tenant.upload() for _ in range(5)]
    assert [each.id for each in tenant.sdk.files.list(limit=2)] == made[::-1]
    assert [each.id for each in tenant.sdk.files.list(limit=2, order="asc")] == made
    assert [each.id for each in tenant.sdk.files.list(purpose="fine-tune-results")] == []
    tenant.sdk.files.delete(made[2])
    assert [each.id for each in tenant.sdk.files.list(after=made[2])] == [made[1], made[0]]
    page = tenant.http.get("/v1/files", params={"limit": 2}).json()
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", made[4], made[3], True)


def test_deleted_is_gone(tenant: Tenant) -> None:
    file = tenant.upload()
    answer = tenant.sdk.files.delete(file)
    assert (answer.id, answer.object, answer.deleted) == (file, "file", True)
    for call in (tenant.sdk.files.retrieve, tenant.sdk.files.content, tenant.sdk.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(file)
    with transaction() as session:
        assert session.query(Task).filter_by(kind=tasks.TaskKind.DELETE_OBJECTS, subject=f"files/{file}").count() == 1


def test_fields_in_any_order_and_what_they_say(tenant: Tenant) -> None:
    fields = {
        "purpose": "fine-tune",
        "palate[format]": "prompt_chosen_rejected",
        "palate[on_error]": "skip",
        "palate[max_bad_fraction]": "0.25",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "3600",
    }
    body = part("file", b"data", filename="a/b\\c.jsonl") + b"".join(part(k, v.encode()) for k, v in fields.items())
    answer = post(tenant, body + END)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "palate[format]"
    del fields["palate[format]"]
    body = part("file", b"data", filename="a/b\\c.jsonl") + b"".join(part(k, v.encode()) for k, v in fields.items())
    made = post(tenant, body + END).json()
    assert (made["filename"], made["bytes"], made["expires_at"]) == ("c.jsonl", 4, made["created_at"] + 3600)
    with transaction() as session:
        row = files.get(session, tenant.project_id, made["id"])
        assert row.options == {"on_error": "skip", "max_bad_fraction": 0.25}


def test_the_sdks_own_words_for_the_options(tenant: Tenant) -> None:
    file = tenant.sdk.files.create(
        file=b"x\n",
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 7200},
        extra_body={"palate": {"on_error": "skip"}},
    )
    assert file.expires_at == file.created_at + 7200
    with transaction() as session:
        assert files.get(session, tenant.project_id, file.id).options["on_error"] == "skip"


@pytest.mark.parametrize(("wish", "kept"), [("true", {"raw_text": True}), ("false", {})])
def test_texts_may_be_raw(tenant: Tenant, wish: str, kept: dict[str, bool]) -> None:
    fields = {"purpose": "fine-tune", "palate[raw_text]": wish}
    answer = tenant.http.post("/v1/files", data=fields, files={"file": ("a.jsonl", b"x\n")})
    with transaction() as session:
        options = files.get(session, tenant.project_id, answer.json()["id"]).options
    assert {name: value for name, value in options.items() if name == "raw_text"} == kept


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({}, "missing_required_parameter", "purpose"),
        ({"purpose": "batch"}, "invalid_value", "purpose"),
        ({"purpose": "fine-tune", "porpoise": "x"}, "unknown_parameter", "porpoise"),
        ({"purpose": "fine-tune", "palate[on_error]": "drop"}, "invalid_value", "palate[on_error]"),
        ({"purpose": "fine-tune", "palate[raw_text]": "yes"}, "invalid_value", "palate[raw_text]"),
        (
            {"purpose": "fine-tune", "palate[raw_text]": "true", "palate[format]": "kto"},
            "raw_text_not_texts",
            "palate[raw_text]",
        ),
        ({"purpose": "fine-tune", "palate[max_bad_fraction]": "nan"}, "out_of_range", "palate[max_bad_fraction]"),
        ({"purpose": "fine-tune", "palate[max_bad_fraction]": "x"}, "invalid_type", "palate[max_bad_fraction]"),
        ({"purpose": "fine-tune", "expires_after[seconds]": "4000"}, "invalid_value", "expires_after[anchor]"),
        (
            {"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            "out_of_range",
            "expires_after[seconds]",
        ),
    ],
)
@pytest.mark.usefixtures("spotless")
def test_a_bad_field_is_named(tenant: Tenant, fields: dict[str, str], code: str, param: str) -> None:
    answer = tenant.http.post("/v1/files", data=fields, files={"file": ("a.jsonl", b"x" * 100_000)})
    assert answer.status_code == 400
    assert (error_of(answer)["code"], error_of(answer)["param"]) == (code, param)


@pytest.mark.usefixtures("spotless")
def test_a_file_has_to_be_there_and_hold_something(tenant: Tenant) -> None:
    none = post(tenant, part("purpose", b"fine-tune") + END)
    assert (none.status_code, error_of(none)["param"]) == (400, "file")
    empty = post(tenant, part("purpose", b"fine-tune") + part("file", b"", filename="a") + END)
    assert (empty.status_code, error_of(empty)["code"]) == (400, "empty_file")


def test_report_and_errors(tenant: Tenant) -> None:
    file = tenant.upload()
    before = tenant.http.get(f"/v1/files/{file}/report").json()
    assert (before["object"], before["status"], before["errors"]) == ("file.report", "uploaded", None)
    assert tenant.http.get(f"/v1/files/{file}/errors").json()["data"] == []
    found = [
        {"line": n, "path": "chosen", "code": "field_missing" if n % 2 else "json_invalid", "message": "m", "hint": "h"}
        for n in range(1, 6)
    ]
    report = {"object": "file.report", "format": "x", "errors": found, "warnings": [], "counts": {"records": 5}}
    with transaction() as session:
        files.refused(session, file, code="too_many_errors", details="5 of 5 rows.", report=report)
    assert tenant.sdk.files.retrieve(file).status == "error"
    assert tenant.sdk.files.retrieve(file).status_details == "5 of 5 rows."
    assert tenant.http.get(f"/v1/files/{file}/report").json()["counts"] == {"records": 5}
    page = tenant.http.get(f"/v1/files/{file}/errors", params={"limit": 2, "code": "field_missing"}).json()
    assert ([each["line"] for each in page["data"]], page["has_more"]) == ([1, 3], True)
    rest = {"limit": 2, "code": "field_missing", "after": page["last_id"]}
    page = tenant.http.get(f"/v1/files/{file}/errors", params=rest).json()
    assert ([each["line"] for each in page["data"]], page["has_more"]) == ([5], False)
    for after in ("0", "6", "x", "²"):
        answer = tenant.http.get(f"/v1/files/{file}/errors", params={"after": after})
        assert (answer.status_code, error_of(answer)["param"]) == (400, "after")


def test_an_expired_file_is_gone(tenant: Tenant) -> None:
    file = tenant.sdk.files.create(
        file=b"x\n", purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    ).id
    with transaction() as session:
        row = session.get_one(File, file)
        row.expires_at = row.created_at
    with pytest.raises(openai.NotFoundError):
        tenant.sdk.files.retrieve(file)
    assert list(tenant.sdk.files.list()) == []
    with transaction() as session:
        assert files.expire(session) >= 1
        assert session.get_one(File, file).deleted_at is not None


BOUNDARY = b"--limit"
END = b"--" + BOUNDARY + b"--\r\n"


def part(name: str, data: bytes, *, filename: str | None = None) -> bytes:
    extra = f'; filename="{filename}"' if filename is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()
    return b"--" + BOUNDARY + b"\r\n" + head + data + b"\r\n"


def post(tenant: Tenant, body: bytes) -> httpx.Response:
    kind = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    return tenant.http.post("/v1/files", content=body, headers={"content-type": kind})
