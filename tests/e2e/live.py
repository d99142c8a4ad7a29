"""`palate up` as a child on a home of its own, and how an operator and a user reach it."""

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI

from local.stack import Stack
from tests.conftest import OFTEN, ROOT
from tests.models import WORDS
from tests.waiting import until

QUICK = OFTEN | {
    "OMP_NUM_THREADS": "1",
    "PALATE_SLOTS": "2",
    "PALATE_TIME_SCALE": "0.2",
    "PALATE_MAX_FILE_BYTES": str(12 << 20),
    # Beside steps of milliseconds a resume point takes long.
    "PALATE_RESUME_SPACING": "0",
}
UP_SECONDS = 90.0
STOP_SECONDS = 60.0
TRAINING_SECONDS = 150.0
OURS = ("DATABASE_URL", "REDIS_URL")


@dataclass
class User:
    """A key: the unmodified SDK with it, and bare HTTP for what the SDK does not send."""

    token: str
    sdk: OpenAI
    http: httpx.Client

    @classmethod
    def of(cls, base_url: str, token: str) -> "User":
        headers = {"authorization": f"Bearer {token}"}
        return cls(
            token,
            OpenAI(base_url=base_url, api_key=token, max_retries=0),
            httpx.Client(base_url=base_url, headers=headers, timeout=30, follow_redirects=True),
        )

    def close(self) -> None:
        self.sdk.close()
        self.http.close()

    def upload(self, data: bytes | Path, name: str = "pairs.jsonl") -> str:
        body = data.read_bytes() if isinstance(data, Path) else data
        return self.sdk.files.create(file=(name, body), purpose="fine-tune").id

    def judged(self, file_id: str) -> dict[str, Any]:
        """The file once its checks are over."""

        def look() -> dict[str, Any] | None:
            file = self.http.get(f"/files/{file_id}").json()
            return file if file["status"] != "uploaded" else None

        return until(look, f"the checks of {file_id}")

    def create(
        self, model: str, file_id: str, ranks: int = 1, *, palate: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """The id of a new job; `more` are hyperparameters."""
        job = self.sdk.fine_tuning.jobs.create(
            model=model,
            training_file=file_id,
            seed=7,
            method={"type": "dpo", "dpo": {"hyperparameters": more}},
            extra_body={"palate": {"resources": {"gpus": ranks}} | (palate or {})},
        )
        return job.id

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/fine_tuning/jobs/{job_id}").json()
        return found

    def step(self, job_id: str) -> int:
        return int((self.job(job_id)["palate"]["progress"] or {}).get("step") or 0)

    def ended(self, job_id: str, seconds: float = TRAINING_SECONDS) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in ("succeeded", "failed", "cancelled") else None

        return until(look, f"the end of {job_id}", seconds, every=0.1)

    def succeeded(self, job_id: str, seconds: float = TRAINING_SECONDS) -> dict[str, Any]:
        job = self.ended(job_id, seconds)
        assert job["status"] == "succeeded", json.dumps([job["error"], self.logs(job_id)], indent=1)
        return job

    def logs(self, job_id: str) -> Any:
        return self.http.get(f"/fine_tuning/jobs/{job_id}/logs", params={"tail": 30}).json()

    def messages(self, job_id: str) -> list[str]:
        """Oldest first."""
        page = self.sdk.fine_tuning.jobs.list_events(job_id, limit=100)
        return [event.message for event in page][::-1]

    def weights(self, job_id: str) -> dict[str, str]:
        """sha256 of each file of the job's model."""
        name = self.job(job_id)["fine_tuned_model"]
        listed = self.http.get(f"/models/{name}/files").json()
        return {entry["path"]: entry["sha256"] for entry in listed["data"]}


def interruptible() -> None:
    """In the child: a shell starts what runs in the background with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Live:
    """One home. `start` returns when the service is ready, `stop` when every process of it is gone."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.log = home.with_name(f"{home.name}.log")
        self.environment = {name: value for name, value in os.environ.items() if name not in OURS}
        self.environment |= QUICK | settings

    def start(self) -> None:
        (self.home / "connection.json").unlink(missing_ok=True)  # left by one that was killed
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up", "--home", str(self.home)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=interruptible,
            )
        connection = self.home / "connection.json"

        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return connection.exists()

        until(ready, f"`palate up` ({self.log})", UP_SECONDS)
        told = json.loads(connection.read_text())
        self.url: str = told["base_url"]
        self.user = User.of(self.url, told["api_key"])

    def stop(self) -> None:
        self.user.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                assert self.process.wait(STOP_SECONDS) == 0, self.log.read_text()
            finally:
                self.process.kill()
        until(lambda: not processes_of(self.home), "the end of every process of this home", 5)

    def palate(self, *command: str, good: bool = True) -> "subprocess.CompletedProcess[str]":
        """A command of an operator on this home."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *command, "--home", str(self.home)],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert not good or done.returncode == 0, done.stdout + done.stderr
        return done

    def another_user(self, project: str) -> User:
        """Of a project that is made when there is none of that name."""
        self.palate("projects", "create", project)
        return User.of(self.url, self.palate("keys", "create", "--project", project).stdout.strip())

    @property
    def parts(self) -> dict[str, str]:
        """What a process of this service reads its settings from."""
        return Stack.running(self.home).environment

    def attempts(self, job_id: str) -> Path:
        return self.home / "scratch" / "attempts" / job_id


def processes_of(home: Path) -> dict[int, str]:
    """pid and command of everything that names this home in its command or its environment, zombies excepted."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if os.fsencode(home) in command + (folder / "environ").read_bytes():
                    found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def triples(count: int, seed: int = 0) -> bytes:
    """Plain prompt, chosen, rejected lines of 3 to 12 words an answer."""
    draw = random.Random(seed)

    def words(least: int, most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))

    lines = [
        {"prompt": words(2, 8), "chosen": words(3, 12) + " wonderful", "rejected": words(3, 12) + " boring"}
        for _ in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def cut_gzip(data: bytes) -> bytes:
    """A gzip stream that ends in its middle."""
    whole = gzip.compress(data, mtime=0)
    return whole[: len(whole) // 2]


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The one shape of errors, checked on the way."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    found: dict[str, Any] = body["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"].startswith("req_")
    return found


def named(error: dict[str, Any], names: Sequence[str] = ("code", "param")) -> tuple[Any, ...]:
    return tuple(error[name] for name in names)
