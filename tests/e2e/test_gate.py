"""From a fault in the data to a job that accepts it, with the unmodified SDK on a live stack; what the trainer sees."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import User, error_of, triples
from tests.launch import alone
from tests.waiting import until

ROWS = [json.loads(line) for line in triples(60).splitlines()]
TURNED = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in ROWS[:4]]
SHORT: dict[str, Any] = {"type": "dpo", "dpo": {"hyperparameters": {"max_steps": 2, "batch_size": 4}}}


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def faulty(user: User) -> str:
    """A file in which 4 of 60 pairs are contradicted by another."""
    file_id = user.upload(lines(*ROWS, *TURNED), "faulty.jsonl")
    assert user.judged(file_id)["status"] == "processed"
    return file_id


@pytest.fixture(scope="module")
def accepted(user: User, faulty: str) -> Iterator[str]:
    """The job that takes the file as it is."""
    with alone():
        yield user.sdk.fine_tuning.jobs.create(
            model=MODEL,
            training_file=faulty,
            method=SHORT,  # type: ignore[arg-type]
            extra_body={"palate": {"accept": ["contradictions"]}},
        ).id


def test_the_report_blocks_and_says_what_to_do(user: User, faulty: str) -> None:
    report = user.http.get(f"/files/{faulty}/report").json()
    assert report["verdict"]["gate"] == "block"
    found = next(each for each in report["checks"] if each["code"] == "contradictions")
    assert (found["severity"], found["count"]) == ("block", 8)
    assert {each["line"] for each in found["examples"]} <= {*range(1, 5), *range(61, 65)}
    assert found["action"] in " ".join(report["verdict"]["top_actions"])
    assert len(report["samples"]) == 20
    assert "contradictions" in report["samples"][0]["codes"]
    page = user.http.get(f"/files/{faulty}/report", headers={"accept": "text/html"})
    assert "✕ blocked" in page.text


def test_a_job_is_refused_with_the_code_of_the_finding(user: User, faulty: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        user.sdk.fine_tuning.jobs.create(model=MODEL, training_file=faulty, method=SHORT)  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.param) == ("contradictions", "training_file")
    assert 'palate.accept = ["contradictions"]' in refused.value.message


def test_accepting_another_finding_does_not_help(user: User, faulty: str) -> None:
    body = {"model": MODEL, "training_file": faulty, "palate": {"accept": ["secrets", "cycles"]}}
    assert error_of(user.http.post("/fine_tuning/jobs", json=body), 400)["code"] == "contradictions"
    body["palate"] = {"accept": ["contradiction"]}
    assert error_of(user.http.post("/fine_tuning/jobs", json=body), 400)["param"] == "palate.accept.0"


def test_what_is_accepted_is_trained_on_and_on_record(user: User, accepted: str) -> None:
    user.succeeded(accepted)
    told = [each for each in user.messages(accepted) if "palate.accept" in each]
    assert len(told) == 1
    assert "contradictions (8 records" in told[0]


def test_what_its_reference_model_shows_joins_the_report(user: User, faulty: str, accepted: str) -> None:
    user.succeeded(accepted)
    without = user.http.get(f"/files/{faulty}/report").json()
    together = user.http.get(f"/files/{faulty}/report", params={"job": accepted, "model": MODEL}).json()
    codes = [{each["code"] for each in report["checks"]} for report in (without, together)]
    assert codes[1] - codes[0] >= {"reference_agreement", "suspected_flips", "off_policy_distance", "truncation"}
    assert codes[0] <= codes[1]


def test_a_prompt_in_both_files_blocks(user: User) -> None:
    training = user.upload(lines(*ROWS), "clean.jsonl")
    fresh = [json.loads(line) for line in triples(12, seed=9).splitlines()]
    leaking = user.upload(lines(*fresh, ROWS[5] | {"chosen": "something else wonderful"}), "leaking.jsonl")
    for file_id in (training, leaking):
        assert user.judged(file_id)["status"] == "processed"
    body = {"model": MODEL, "training_file": training, "validation_file": leaking, "method": SHORT}
    job = user.http.post("/fine_tuning/jobs", json=body).json()
    error = user.ended(job["id"])["error"]
    assert (error["code"], error["param"]) == ("train_validation_leakage", "validation_file")
    plan = error_of(user.http.post("/fine_tuning/plan", json=body), 400)
    assert plan["code"] == "train_validation_leakage"
    taken = user.http.post("/fine_tuning/plan", json=body | {"palate": {"accept": ["train_validation_leakage"]}})
    assert taken.status_code == 200


def test_the_preview_is_what_the_trainer_sees(user: User, faulty: str) -> None:
    def ready() -> dict[str, Any] | None:
        answer = user.http.get(f"/files/{faulty}/preview", params={"model": MODEL, "limit": 3})
        assert answer.status_code in (200, 202), answer.text
        return answer.json() if answer.status_code == 200 else None

    told = until(ready, "the preview")
    assert [each["line"] for each in told["data"]] == [1, 2, 3]
    for shown, row in zip(told["data"], ROWS, strict=False):
        assert row["prompt"] in shown["prompt"]["text"]
        chosen, rejected = shown["answers"]
        assert (row["chosen"] in chosen["text"], row["rejected"] in rejected["text"]) == (True, True)
        assert "".join(chosen["pieces"]) == chosen["text"]
        assert len(chosen["token_ids"]) == len(chosen["mask"])
        assert set(chosen["mask"]) == {1}
    report = user.http.get(f"/files/{faulty}/report", params={"model": MODEL}).json()
    assert {"truncation", "template_health"} <= {each["code"] for each in report["checks"]}
    assert report["inspection"]["usable"] == 64
