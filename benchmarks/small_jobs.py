"""Jobs of a tiny model on two ranks, of as many steps as are asked for, on data that was checked before."""

import time
from pathlib import Path
from typing import Any

import httpx
import inputs
import live

MODEL = "bench/tiny"
SETTINGS = {"batch_size": 8, "max_length": 128, "n_epochs": 50}
DEADLINE_SECONDS = 240.0


def prepared(service: live.Service, scratch: Path) -> str:
    inputs.tiny_model(service, MODEL, scratch / "model")
    with service.client() as client:
        file = inputs.upload(client, inputs.pairs(scratch / "pairs.jsonl", seed=1, count=1_000))
        inputs.checked(client, file)
    return file


def create(client: httpx.Client, file: str, steps: int) -> str:
    body: dict[str, Any] = {
        "model": MODEL,
        "training_file": file,
        "seed": 1,
        "method": {"type": "dpo", "dpo": {"hyperparameters": {**SETTINGS, "max_steps": steps}}},
        "palate": {"resources": {"gpus": 2}},
    }
    return str(client.post("/fine_tuning/jobs", json=body).raise_for_status().json()["id"])


def ended(client: httpx.Client, job_id: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while client.get(f"/fine_tuning/jobs/{job_id}").json()["finished_at"] is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"{job_id} did not end")
        time.sleep(0.2)
