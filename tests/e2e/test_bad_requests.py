"""What cannot be done is refused in words that say what to mend, and leaves no trace."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import Live, User, error_of, triples
from tests.waiting import until

JOBS = "/fine_tuning/jobs"


@pytest.fixture(scope="package")
def file(user: User) -> str:
    """A good one."""
    return user.upload(triples(30, seed=2))


def dpo(**hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}}


def palate(**options: Any) -> dict[str, Any]:
    return {"palate": options}


HYPER = "method.dpo.hyperparameters"


@pytest.mark.parametrize(
    ("more", "code", "param", "words"),
    [
        ({"modle": "x"}, "unknown_parameter", "modle", "'model'"),
        (dpo(bata=0.1), "unknown_parameter", f"{HYPER}.bata", f"{HYPER}.beta"),
        (dpo(lr=1e-4), "unknown_parameter", f"{HYPER}.lr", "Unknown parameter"),
        ({"beta": 0.1}, "unknown_parameter", "beta", f"{HYPER}.beta"),
        (palate(resources={"gpu": 2}), "unknown_parameter", "palate.resources.gpu", "gpus"),
        ({"model": None}, "invalid_type", "model", "a string"),
        ({"training_file": 7}, "invalid_type", "training_file", "a string"),
        ({"seed": "7"}, "invalid_type", "seed", "an integer"),
        ({"seed": -1}, "out_of_range", "seed", "at least 0"),
        ({"suffix": "x" * 65}, "out_of_range", "suffix", "64"),
        ({"metadata": {"k": 1}}, "invalid_type", "metadata.k", "a string"),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "out_of_range", "metadata", "16"),
        (dpo(beta=0), "out_of_range", f"{HYPER}.beta", "greater than 0"),
        (dpo(beta="high"), "invalid_type", f"{HYPER}.beta", "a number or 'auto'"),
        (dpo(batch_size=257), "out_of_range", f"{HYPER}.batch_size", "at most 256"),
        (dpo(batch_size=8.5), "invalid_type", f"{HYPER}.batch_size", "an integer"),
        (dpo(n_epochs=0), "out_of_range", f"{HYPER}.n_epochs", "at least 1"),
        (dpo(label_smoothing=0.6), "out_of_range", f"{HYPER}.label_smoothing", "at most 0.5"),
        (dpo(loss="ipo", label_smoothing=0.1), "setting_not_used", f"{HYPER}.label_smoothing", "robust"),
        (dpo(lora={"target_modules": ["w_proj"]}), "unknown_modules", f"{HYPER}.lora.target_modules.0", "q_proj"),
        (dpo(lora={"target_modules": ["lm_head"]}), "lora_unfit", f"{HYPER}.lora.target_modules.0", "q_proj"),
        (dpo(max_length=8), "out_of_range", f"{HYPER}.max_length", "at least 16"),
        (dpo(truncation="cut"), "invalid_value", f"{HYPER}.truncation", "'drop', 'keep_end'"),
        ({"method": {"type": "supervised"}}, "unsupported_method", "method.type", "'dpo'"),
        (palate(resources={"nodes": 2}), "unsupported_resources", "palate.resources.nodes", "leave"),
        (palate(resources={"gpus": 0}), "out_of_range", "palate.resources.gpus", "at least 1"),
        (palate(checkpoint={"keep": 0}), "out_of_range", "palate.checkpoint.keep", "at least 1"),
        ({"model": "nobody/knows"}, "model_not_found", "model", "GET /v1/models"),
        ({"training_file": "file-nobody"}, "file_not_found", "training_file", "/v1/files"),
        ({"validation_file": "file-nobody"}, "file_not_found", "validation_file", "/v1/files"),
    ],
)
@pytest.mark.usefixtures("spotless")
def test_a_job_that_cannot_be(user: User, file: str, more: dict[str, Any], code: str, param: str, words: str) -> None:
    body = {"model": MODEL, "training_file": file, **more}
    error = error_of(user.http.post(JOBS, json=body, headers={"idempotency-key": "refused"}), 400)
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b'{"model": "tiny/llama"', "invalid_json", None),
        (b'{"model": "a", "model": "b"}', "invalid_json", None),
        (b'{"seed": NaN}', "invalid_json", None),
        (b'{"seed": 1e400}', "invalid_json", None),
        (b'{"suffix": "\\ud800"}', "invalid_json", None),
        (b'{"suffix": "\xe9"}', "invalid_json", None),
        (b"[" * 40 + b"]" * 40, "invalid_json", None),
        (b"[]", "invalid_type", "body"),
        (b"{}", "missing_required_parameter", "model"),
    ],
)
@pytest.mark.usefixtures("spotless")
def test_a_body_that_cannot_be_read(user: User, body: bytes, code: str, param: str | None) -> None:
    error = error_of(user.http.post(JOBS, content=body, headers={"content-type": "application/json"}), 400)
    assert (error["code"], error["param"]) == (code, param)
    assert len(error["message"]) > 10


@pytest.mark.usefixtures("spotless")
def test_a_body_of_another_kind_or_size(user: User, file: str) -> None:
    body = json.dumps({"model": MODEL, "training_file": file}).encode()
    error = error_of(user.http.post(JOBS, content=body, headers={"content-type": "text/plain"}), 400)
    assert (error["code"], "application/json" in error["message"]) == ("invalid_json", True)
    large = user.http.post(JOBS, json={"model": "x" * (2 << 20), "training_file": file})
    assert "/v1/files" in error_of(large, 413)["message"]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        (f"{JOBS}?limit=0", "limit"),
        (f"{JOBS}?limit=101", "limit"),
        (f"{JOBS}?after=ftjob-nobody", "after"),
        ("/files?limit=10001", "limit"),
        ("/files?order=up", "order"),
        ("/files?after=file-nobody", "after"),
    ],
)
def test_a_page_that_is_not_there(user: User, path: str, param: str) -> None:
    error = error_of(user.http.get(path), 400)
    assert error["param"] == param
    assert param in error["message"]


@pytest.mark.usefixtures("spotless")
def test_a_key_that_opens_nothing(live: Live, user: User, file: str) -> None:
    good = user.token
    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    for header in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {wrong}"}, {"authorization": good}):
        code = "invalid_api_key" if header.get("authorization", "").startswith("Bearer") else "missing_api_key"
        for send in (
            httpx.Request("GET", f"{live.url}/files", headers=header),
            httpx.Request("POST", f"{live.url}{JOBS}", headers=header, json={"model": MODEL, "training_file": file}),
            httpx.Request("POST", f"{live.url}/files", headers=header, files={"file": triples(12)}),
        ):
            with httpx.Client() as client:
                answer = client.send(send)
            error = error_of(answer, 401)
            assert (error["code"], error["type"]) == (code, "authentication_error")
            assert len(error["message"]) > 30
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_opens_nothing_within_5_seconds(live: Live) -> None:
    other = live.another_user("others")
    assert other.http.get("/files").status_code == 200
    live.palate("keys", "revoke", other.token)
    until(lambda: other.http.get("/files").status_code == 401, "the refusal of a revoked key", 5)
    assert error_of(other.http.get("/files"), 401)["code"] == "invalid_api_key"
    other.close()
