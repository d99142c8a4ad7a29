"""The client: what it sends, and that every failure is one sentence."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.service import Service
from demo.stack import DemoFailed

Answer = Callable[[httpx.Request], httpx.Response]


def service(answer: Answer) -> Service:
    made = Service("http://test/v1", "plt_key")
    made.client = httpx.Client(
        base_url="http://test/v1", transport=httpx.MockTransport(answer), headers=made.client.headers
    )
    return made


def test_a_file_is_sent_and_its_report_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("{}\n")
    seen: list[httpx.Request] = []
    states = iter(["uploaded", "processed"])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.endswith("/report"):
            return httpx.Response(200, json={"counts": {"pairs": 1}})
        return httpx.Response(200, json={"id": "file-1", "status": next(states), "status_details": None})

    assert service(answer).upload(path) == {"counts": {"pairs": 1}, "id": "file-1"}
    assert seen[0].headers["authorization"] == "Bearer plt_key"
    assert b'name="purpose"' in seen[0].content
    assert [each.url.path for each in seen] == ["/v1/files", "/v1/files/file-1", "/v1/files/file-1/report"]


def test_a_refused_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("{}\n")
    refused = {"id": "file-1", "status": "error", "status_details": "line 1 is no pair"}
    with pytest.raises(DemoFailed, match="refused: line 1 is no pair"):
        service(lambda _: httpx.Response(200, json=refused)).upload(path)


def job(version: int, status: str) -> dict[str, Any]:
    return {"id": "ftjob-1", "status": status, "palate": {"version": version}}


def test_a_job_is_followed_from_version_to_version() -> None:
    waits: list[str] = []
    jobs = iter([job(2, "running"), job(3, "succeeded")])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/metrics"):
            return httpx.Response(200, json={"step": [1]})
        waits.append(request.url.params["since"])
        return httpx.Response(200, json=next(jobs))

    looked: list[str] = []
    last, metrics = service(answer).follow(job(1, "queued"), lambda seen, _: looked.append(seen["status"]))
    assert (last["status"], metrics, waits) == ("succeeded", {"step": [1]}, ["1", "2"])
    assert looked == ["queued", "running", "succeeded"]


def manifest(path: str, sha256: str) -> dict[str, Any]:
    return {"data": [{"path": path, "bytes": 5, "sha256": sha256}]}


def serving(found: dict[str, Any]) -> Service:
    return service(
        lambda request: (
            httpx.Response(200, json=found)
            if request.url.path.endswith("/files")
            else httpx.Response(200, content=b"bytes")
        )
    )


def test_a_model_is_downloaded_and_compared(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"bytes").hexdigest()
    files = serving(manifest("sub/model.safetensors", digest)).download("ft:a:b:c", tmp_path)
    assert [(f.path, f.bytes, f.sha256) for f in files] == [("sub/model.safetensors", 5, digest)]
    assert (tmp_path / "sub/model.safetensors").read_bytes() == b"bytes"


def test_other_bytes_than_the_manifest_s_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="not what its manifest says"):
        serving(manifest("model.safetensors", "00" * 32)).download("ft:a:b:c", tmp_path)


def test_a_path_outside_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="outside its folder"):
        serving(manifest("../evil", "00" * 32)).download("ft:a:b:c", tmp_path / "in")


def test_an_error_is_told_in_the_service_s_own_words() -> None:
    error = {"error": {"message": "No such model.", "type": "x", "param": None, "code": "model_not_found"}}
    with pytest.raises(DemoFailed, match=r"POST /fine_tuning/jobs answered 400: No such model\."):
        service(lambda _: httpx.Response(400, json=error)).create({})


def test_a_service_that_is_away_is_one_sentence() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(DemoFailed, match="did not answer GET"):
        service(away).metrics("ftjob-1")


def test_a_cancel_is_asked_for_and_never_fails() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        raise httpx.ReadTimeout("slow", request=request)

    service(answer).cancel("ftjob-1")
    assert seen == ["POST /v1/fine_tuning/jobs/ftjob-1/cancel"]
