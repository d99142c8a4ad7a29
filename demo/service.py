"""The fine-tuning API as any client uses it: files, a job, its figures, its model."""

import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from demo.outcome import Columns, StoredFile
from demo.stack import DemoFailed

CHECK_SECONDS = 120.0
WAIT_SECONDS = 20
TERMINAL = ("succeeded", "failed", "cancelled")
Job = dict[str, Any]


class Service:
    def __init__(self, base_url: str, api_key: str) -> None:
        self.client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(60.0),
            follow_redirects=True,
            trust_env=False,
        )

    def close(self) -> None:
        self.client.close()

    def upload(self, path: Path) -> dict[str, Any]:
        """The file's report, once its checks have ended; raises when it may not be used."""
        with path.open("rb") as stream:
            file = self._ask("POST", "/files", files={"file": (path.name, stream)}, data={"purpose": "fine-tune"})
        deadline = time.monotonic() + CHECK_SECONDS
        while file["status"] == "uploaded":
            if time.monotonic() > deadline:
                raise DemoFailed(f"{path.name} was not checked within {CHECK_SECONDS:.0f} s.")
            time.sleep(0.1)
            file = self._ask("GET", f"/files/{file['id']}")
        if file["status"] != "processed":
            raise DemoFailed(f"{path.name} was refused: {file['status_details']}")
        report: dict[str, Any] = self._ask("GET", f"/files/{file['id']}/report")
        return report | {"id": file["id"]}

    def create(self, body: dict[str, Any]) -> Job:
        return self._ask("POST", "/fine_tuning/jobs", json=body)

    def follow(self, job: Job, look: Callable[[Job, Columns], None]) -> tuple[Job, Columns]:
        """Waits for each visible change until the job has ended; `look` sees the job and all figures so far."""
        metrics: Columns = {}
        while True:
            metrics = self.metrics(job["id"])
            look(job, metrics)
            if job["status"] in TERMINAL:
                return job, metrics
            query = {"wait": WAIT_SECONDS, "since": job["palate"]["version"]}
            job = self._ask("GET", f"/fine_tuning/jobs/{job['id']}", params=query)

    def cancel(self, job_id: str) -> None:
        """So that a job that nobody waits for any more does not go on at the next start; as well as it can be done."""
        with contextlib.suppress(DemoFailed):
            self._ask("POST", f"/fine_tuning/jobs/{job_id}/cancel", timeout=5.0)

    def metrics(self, job_id: str) -> Columns:
        found: Columns = self._ask("GET", f"/fine_tuning/jobs/{job_id}/metrics")
        return found

    def last_words(self, job_id: str) -> list[str]:
        """What the ranks wrote last, for a job that failed."""
        logs = self._ask("GET", f"/fine_tuning/jobs/{job_id}/logs", params={"tail": 15})
        return [f"rank {rank['rank']}: {line}" for rank in logs["data"] for line in rank["lines"]]

    def download(self, model: str, folder: Path) -> list[StoredFile]:
        """Every file of a model; each one's sha256 and size are computed here and are the manifest's."""
        files = []
        root = f"/models/{quote(model, safe=':')}/files"
        for entry in self._ask("GET", root)["data"]:
            path = (folder / entry["path"]).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise DemoFailed(f"The manifest of {model} names a path outside its folder: {entry['path']}")
            path.parent.mkdir(parents=True, exist_ok=True)
            found = self._fetch(f"{root}/{quote(entry['path'])}", path)
            if (found.sha256, found.bytes) != (entry["sha256"], entry["bytes"]):
                raise DemoFailed(f"{entry['path']} of {model} is not what its manifest says (sha256 {found.sha256}).")
            files.append(StoredFile(entry["path"], found.bytes, found.sha256))
        return files

    def _fetch(self, url: str, path: Path) -> StoredFile:
        digest, size = hashlib.sha256(), 0
        with self.client.stream("GET", url) as answer, path.open("wb") as out:
            if answer.status_code != 200:
                raise DemoFailed(f"GET {url} answered {answer.status_code}.")
            for piece in answer.iter_bytes():
                out.write(piece)
                digest.update(piece)
                size += len(piece)
        return StoredFile(path.name, size, digest.hexdigest())

    def _ask(self, method: str, url: str, **rest: Any) -> dict[str, Any]:
        try:
            answer = self.client.request(method, url, **rest)
        except httpx.TransportError as error:
            raise DemoFailed(f"The service did not answer {method} {url}: {error or type(error).__name__}") from None
        if answer.is_error:
            raise DemoFailed(f"{method} {url} answered {answer.status_code}: {_message(answer)}")
        found: dict[str, Any] = answer.json()
        return found


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
