"""Launching real ranks in tests: one run at a time on this machine, one thread a rank."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.contract.run_spec import RunSpec

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 240


@contextmanager
def alone() -> Iterator[None]:
    """Two runs at once on two cores would measure each other."""
    with (Path(tempfile.gettempdir()) / "palate-ranks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Run:
    """`python -m trainer launch` on a spec, its ranks the trainer or another program; read its events while it runs."""

    def __init__(
        self,
        spec: RunSpec,
        program: tuple[str, ...] = ("-m", "trainer"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.spec = spec
        spec.workspace.mkdir(parents=True, exist_ok=True)
        path = spec.workspace / "run.json"
        path.write_text(spec.model_dump_json())
        self.process = self.begin(path, program, {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})})

    def begin(self, path: Path, program: tuple[str, ...], environment: Mapping[str, str]) -> Any:
        asked = ["--ranks", str(self.spec.world_size), "--spec", str(path), "--", *program]
        # Its own session: the launcher and what it starts end together, whatever becomes of the test.
        return subprocess.Popen(
            [sys.executable, "-m", "trainer", "launch", *asked],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        path = self.spec.workspace / "events.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if kind in (None, event["event"])]

    def wait_for(self, kind: str, **fields: Any) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for event in self.events(kind):
                if all(event[name] == value for name, value in fields.items()):
                    return event
            assert self.process.poll() is None, self.logs()
            time.sleep(0.02)
        raise AssertionError(f"no {kind} event with {fields}: {self.logs()}")

    def code(self, seconds: float = PATIENCE) -> int:
        """Waits for the end; the exit code that rank 0 wrote down."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        path = self.spec.workspace / "ranks" / "0.exit"
        assert path.exists(), self.logs()
        return int(path.read_text())

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.spec.workspace / "logs").glob("*.log")))
