"""A user's whole way with the unmodified `openai` SDK, of either major version; asked on stdin, told on stdout.

It imports nothing but the SDK, so that the same file runs in an environment that holds nothing else.
"""

import hashlib
import json
import sys
import time
from typing import Any

import httpx
import openai

POLL_SECONDS = 0.2
PATIENCE = 150.0


def main() -> None:
    asked = json.load(sys.stdin)
    client = openai.OpenAI(base_url=asked["base_url"], api_key=asked["api_key"])
    told: dict[str, Any] = {"version": openai.__version__}
    told["file"] = upload(client, asked["file"])
    told["created"], told["replayed"] = create(client, asked, told["file"]["id"])
    job_id = told["created"]["id"]
    told["statuses"], told["job"] = follow(client, job_id)
    told["events"] = [event.model_dump(mode="json") for event in client.fine_tuning.jobs.list_events(job_id, limit=3)]
    told["checkpoints"] = [
        each.model_dump(mode="json") for each in client.fine_tuning.jobs.checkpoints.list(job_id, limit=1)
    ]
    told["models"] = [model.id for model in client.models.list()]
    told["jobs"] = [job.id for job in client.fine_tuning.jobs.list(metadata={"walk": told["version"]})]
    if told["job"]["status"] == "succeeded":
        names = [told["job"]["fine_tuned_model"], *names_of(told["checkpoints"])]
        told["downloads"] = {name: download(client, name) for name in names}
        told["results"] = [result(client, file_id) for file_id in told["job"]["result_files"]]
    told["late_cancel"] = late_cancel(client, job_id)
    told["deleted"] = [client.models.delete(name).deleted for name in names_of(told["checkpoints"])[:1]]
    told["left"] = [model.id for model in client.models.list()]
    json.dump(told, sys.stdout)


def names_of(checkpoints: list[dict[str, Any]]) -> list[str]:
    return [each["fine_tuned_model_checkpoint"] for each in checkpoints]


def upload(client: openai.OpenAI, path: str) -> dict[str, Any]:
    with open(path, "rb") as stream:
        file = client.files.create(file=stream, purpose="fine-tune")
    done = client.files.wait_for_processing(file.id, poll_interval=POLL_SECONDS, max_wait_seconds=PATIENCE)
    with open(path, "rb") as stream:
        same = client.files.content(file.id).read() == stream.read()
    listed = [each.id for each in client.files.list(limit=1)]
    return {**done.model_dump(mode="json"), "first_status": file.status, "same": same, "listed": file.id in listed}


def create(client: openai.OpenAI, asked: dict[str, Any], file_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job, and what the same request with the same key answers."""
    answers = []
    for _ in range(2):
        raw = client.fine_tuning.jobs.with_raw_response.create(
            model=asked["model"],
            training_file=file_id,
            suffix="walk",
            seed=7,
            metadata={"walk": openai.__version__},
            method={"type": "dpo", "dpo": {"hyperparameters": asked["hyperparameters"]}},
            extra_body={"palate": {"resources": {"gpus": asked["ranks"]}, "checkpoint": {"every_steps": 4}}},
            extra_headers={"Idempotency-Key": f"walk-{file_id}"},
        )
        answers.append((raw.parse().model_dump(mode="json"), raw.headers.get("x-palate-replayed")))
    (first, _), (second, replayed) = answers
    return first, {"id": second["id"], "header": replayed}


def follow(client: openai.OpenAI, job_id: str) -> tuple[list[str], dict[str, Any]]:
    """Polls as existing clients do: the statuses in their order, each once, and the job at its end."""
    statuses: list[str] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if job.status not in statuses:
            statuses.append(job.status)
        if job.status in ("succeeded", "failed", "cancelled"):
            return statuses, job.model_dump(mode="json")
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"{job_id} did not end in {PATIENCE} s: {statuses}")


def download(client: openai.OpenAI, name: str) -> dict[str, Any]:
    """Every file of a model: what the manifest says of it, and what came."""
    model = client.models.retrieve(name)
    listed: Any = client.get(f"/models/{model.id}/files", cast_to=object)
    files = {}
    for entry in listed["data"]:
        body = client.get(f"/models/{model.id}/files/{entry['path']}", cast_to=httpx.Response).content
        files[entry["path"]] = {
            "bytes": [entry["bytes"], len(body)],
            "sha256": [entry["sha256"], hashlib.sha256(body).hexdigest()],
        }
    return files


def result(client: openai.OpenAI, file_id: str) -> dict[str, Any]:
    file = client.files.retrieve(file_id)
    text = client.files.content(file_id).read().decode()
    return {"filename": file.filename, "purpose": file.purpose, "bytes": file.bytes, "text": text}


def late_cancel(client: openai.OpenAI, job_id: str) -> dict[str, Any]:
    """Once, although the SDK would try a conflict again by itself."""
    try:
        client.fine_tuning.jobs.cancel(job_id)
    except openai.ConflictError as error:
        return {"code": error.code, "retry": error.response.headers.get("x-should-retry")}
    return {}


if __name__ == "__main__":
    main()
