"""A file that cannot be used is refused with its lines, and no job trains on it."""

import csv
import gzip
import io
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import User, cut_gzip, error_of, triples

JOBS = "/fine_tuning/jobs"
GOOD = triples(30, seed=3)
LINES = GOOD.splitlines(keepends=True)
BAD_ROWS = b"".join(
    [
        *LINES[:10],
        b'{"prompt": "x", "chosen": 3, "rejected": "y"}\n',
        b'{"prompt": "x", "chosen": "z"}\n',
        b'{"prompt": "x", "chosen": "z", "rejected": }\n',
        *LINES[10:],
    ]
)
LATIN = GOOD + '{"prompt": "é", "chosen": "a", "rejected": "b"}\n'.encode("latin-1")

# name -> (bytes, words of status_details, (line, code) of each bad row)
FILES: dict[str, tuple[bytes, str, list[tuple[int, str]]]] = {
    "latin1.jsonl": (LATIN, "line 31", [(31, "utf8_invalid")]),
    "prose.jsonl": (b"Dear reader,\n" * 20, "Accepted: JSON lines", []),
    "binary.bin": (bytes(range(256)) * 40, "Accepted: JSON lines", []),
    "cut.jsonl.gz": (cut_gzip(GOOD), "cut off", []),
    "cut.jsonl": (GOOD[:-20], "line 30", [(30, "json_invalid")]),
    "strange.jsonl": (b'{"question": 1, "answer": 2}\n' * 20, "Formats that are read", []),
    "bad_rows.jsonl": (
        BAD_ROWS,
        "on_error",
        [(11, "field_type"), (12, "field_missing"), (13, "json_invalid")],
    ),
    "few.jsonl": (b"".join(LINES[:5]), "at least 10", []),
    "bomb.jsonl.gz": (gzip.compress(b"{" + b" \n" * (40 << 20)), "unpacks", [(1, "json_invalid")]),
    "pickled.jsonl": (pickle.dumps([json.loads(line) for line in LINES]), "pickle", []),
    "blank.jsonl": (b"\n \n", "empty", []),
}


@pytest.fixture(scope="module")
def good(user: User) -> str:
    return user.upload(GOOD)


@pytest.fixture(scope="module")
def sent(user: User) -> dict[str, str]:
    """All at once: they are checked beside each other."""
    return {name: user.upload(body, name) for name, (body, _, _) in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used(user: User, good: str, sent: dict[str, str], name: str) -> None:
    _, words, rows = FILES[name]
    file = user.judged(sent[name])
    assert file["status"] == "error"
    assert words in file["status_details"]
    found = user.http.get(f"/files/{file['id']}/errors").json()["data"]
    assert [(each["line"], each["code"]) for each in found] == rows
    assert all(each["message"] and each["hint"] for each in found)
    report = user.http.get(f"/files/{file['id']}/report").json()
    assert (report["status"], report["file"]) == ("error", name)
    for param in ("training_file", "validation_file"):
        files = {"training_file": good, param: sent[name]}
        error = error_of(user.http.post(JOBS, json={"model": MODEL, **files}), 400)
        assert (error["code"], error["param"]) == (f"invalid_{param}", param)
        assert f"/v1/files/{sent[name]}/errors" in error["message"]
    jobs = user.http.get(JOBS, params={"limit": 100}).json()["data"]
    assert all(sent[name] not in (job["training_file"], job["validation_file"]) for job in jobs)


def test_a_job_that_came_before_the_checks_fails_with_their_reason(user: User) -> None:
    file = user.upload(BAD_ROWS, "bad.jsonl")
    job = user.ended(user.create(MODEL, file), 60)
    assert (job["status"], job["fine_tuned_model"], job["result_files"]) == ("failed", None, [])
    assert (job["error"]["code"], job["error"]["param"]) == ("invalid_training_file", "training_file")
    assert "line 11" in job["error"]["message"]
    assert user.messages(job["id"])[-1].startswith("Job failed: ")


def test_a_job_whose_pairs_are_too_long_fails_before_it_takes_a_slot(user: User) -> None:
    file = user.upload(triples(30, seed=4))
    job = user.ended(user.create(MODEL, file, max_length=16), 60)
    assert job["status"] == "failed"
    assert job["error"]["code"] == "too_long"
    assert "max_length" in job["error"]["message"]
    assert job["palate"]["attempt"] is None


def test_bad_rows_may_be_skipped(user: User) -> None:
    file = user.sdk.files.create(
        file=("rows.jsonl", BAD_ROWS),
        purpose="fine-tune",
        extra_body={"palate": {"on_error": "skip", "max_bad_fraction": 0.2}},
    )
    assert user.judged(file.id)["status"] == "processed"
    found = user.http.get(f"/files/{file.id}/errors", params={"limit": 2}).json()
    assert ([each["line"] for each in found["data"]], found["has_more"]) == ([11, 12], True)


@pytest.mark.parametrize(
    ("name", "code"), [("bomb.jsonl.gz", "decompression_limit"), ("pickled.jsonl", "container_unknown")]
)
def test_a_hostile_file_has_its_own_code(user: User, sent: dict[str, str], name: str, code: str) -> None:
    user.judged(sent[name])
    assert user.http.get(f"/files/{sent[name]}/report").json()["error"]["code"] == code


def test_a_table_is_read_by_its_mapping(user: User) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("ask", "good", "bad"), *(json.loads(line).values() for line in LINES)])
    mapping = {"prompt": "ask", "chosen": "good", "rejected": "bad"}
    fields = {"purpose": "fine-tune", "palate[mapping]": json.dumps(mapping)}
    sent = user.http.post("/files", data=fields, files={"file": ("own.csv", text.getvalue().encode())})
    file = user.judged(sent.json()["id"])
    assert file["status"] == "processed", file
    report = user.http.get(f"/files/{file['id']}/report").json()
    assert (report["container"], report["counts"]["pairs"], report["mapping"]) == ("csv", 30, mapping)


def test_parquet_is_read(user: User) -> None:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([json.loads(line) for line in LINES]), out)
    file = user.judged(user.upload(out.getvalue(), "pairs.parquet"))
    assert file["status"] == "processed", file
    report = user.http.get(f"/files/{file['id']}/report").json()
    assert (report["container"], report["counts"]["usable"]) == ("parquet", 30)


@pytest.mark.parametrize(
    ("fields", "name", "code", "param"),
    [
        ({"purpose": "fine-tune"}, "empty", "empty_file", "file"),
        ({}, "whole", "missing_required_parameter", "purpose"),
        ({"purpose": "batch"}, "whole", "invalid_value", "purpose"),
        ({"purpose": "fine-tune", "palate[formt]": "auto"}, "whole", "unknown_parameter", "palate[formt]"),
        ({"purpose": "fine-tune", "palate[format]": "yaml"}, "whole", "invalid_value", "palate[format]"),
        ({"purpose": "fine-tune", "palate[on_error]": "drop"}, "whole", "invalid_value", "palate[on_error]"),
    ],
)
@pytest.mark.usefixtures("spotless")
def test_an_upload_that_is_refused_at_once(
    user: User, fields: dict[str, str], name: str, code: str, param: str
) -> None:
    body = {"whole": GOOD, "empty": b""}[name]
    error = error_of(user.http.post("/files", data=fields, files={"file": ("a.jsonl", body)}), 400)
    assert (error["code"], error["param"]) == (code, param)
