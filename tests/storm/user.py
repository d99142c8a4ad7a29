"""A user of the storm: repeats a request until it is answered, as the SDK does, and names each job once."""

import time
from collections.abc import Callable
from typing import Any

import httpx

RETRIED = {408, 409, 429, 500, 502, 503, 504}
PATIENCE = 120.0


class Impatient(Exception):
    """No answer in time."""


class StormUser:
    def __init__(self, base_url: str, token: str) -> None:
        self.http = httpx.Client(base_url=base_url, headers={"authorization": f"Bearer {token}"}, timeout=20)
        self.answers: dict[int, int] = {}

    def surely(self, send: Callable[[], httpx.Response]) -> Any:
        """The answer's JSON. A refusal is an error of the service: nothing that is sent here deserves one."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                answer = send()
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
            if answer.status_code in RETRIED:
                time.sleep(0.2)
                continue
            answer.raise_for_status()
            return answer.json()
        raise Impatient("no answer in time")

    def upload(self, data: bytes) -> str:
        form: dict[str, Any] = {"data": {"purpose": "fine-tune"}, "files": {"file": ("pairs.jsonl", data)}}
        return str(self.surely(lambda: self.http.post("/files", **form))["id"])

    def create(self, key: str, body: dict[str, Any]) -> str:
        headers = {"idempotency-key": key}
        return str(self.surely(lambda: self.http.post("/fine_tuning/jobs", json=body, headers=headers))["id"])
