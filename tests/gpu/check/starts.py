"""How ranks come to be: forks of a warm trainer that may use the device and NCCL, and a run from each launcher."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from core import processes, warm
from core.contract.run_spec import RunSpec
from tests.gpu.check.part import Asked, Seen, Wrong
from tests.launch import ROOT, Run
from tests.waiting import until

READY_SECONDS = 120.0


def launch(asked: Asked) -> Seen:
    from tests.gpu.test_runs import spec

    known = environment()
    command = [sys.executable, "-m", "tests.gpu.check.collective", str(asked.devices)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=known, capture_output=True, text=True, check=False, timeout=asked.left
        )
    except subprocess.TimeoutExpired:
        raise Wrong("the sum over the ranks of a warm trainer is not done in time: NCCL or the fork hangs") from None
    if done.returncode:
        raise Wrong(f"no sum over the ranks of a warm trainer: {(done.stdout + done.stderr)[-1500:]}")
    sums = float(done.stdout.split()[-1])
    folder = asked.folder / "starts"
    folder.mkdir(exist_ok=True)
    short = spec(folder)
    short = short.model_copy(update={"settings": short.settings.model_copy(update={"max_steps": 2})})
    cold = Run(short.model_copy(update={"workspace": folder / "cold"}), environment=known)
    began = time.time()
    if (code := cold.code(asked.left)) != 0:
        raise Wrong(f"a cold run ended with {code}: {cold.logs()[-1500:]}")
    with trainer(folder / "warm.sock", known):
        asked_at = time.time()
        workspace, code = folder / "warm", None
        code = run(folder / "warm.sock", short.model_copy(update={"workspace": workspace}), known, asked.left)
        if code:
            logs = "\n".join(path.read_text() for path in sorted((workspace / "logs").glob("*.log")))
            raise Wrong(f"a warm run ended with {code}: {logs[-1500:]}")
    seen = Seen(f"{asked.devices} ranks of a warm trainer added up; a run, cold and warm")
    seen.add("seconds from the fork to the sum", f"{sums:.2f}")
    seen.add("seconds to `started`, cold", f"{started(folder / 'cold') - began:.2f}")
    seen.add("seconds to `started`, warm", f"{started(workspace) - asked_at:.2f}")
    return seen


def environment() -> dict[str, str]:
    me = str(processes.this_process())
    return {**os.environ, "PALATE_SUPERVISOR": me, "PALATE_LIFELINE": me}


def started(workspace: Path) -> float:
    events = map(json.loads, (workspace / "events.jsonl").read_text().splitlines())
    return float(next(event["time"] for event in events if event["event"] == "started"))


@contextlib.contextmanager
def trainer(path: Path, known: Mapping[str, str]) -> Iterator[None]:
    """A warm trainer that listens at `path`."""
    with path.with_suffix(".log").open("wb") as log:
        command = [sys.executable, "-m", "trainer", "warm", "--socket", str(path)]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(known), stdout=log, stderr=log)
    try:

        def ready() -> bool:
            if process.poll() is not None:
                raise Wrong(f"the warm trainer left: {path.with_suffix('.log').read_text()[-1500:]}")
            with contextlib.suppress(warm.Refused), warm.connect(path, 2.0) as link:
                warm.say(link, {"status": True})
                return bool(warm.hear(link))
            return False

        until(ready, "the warm trainer", READY_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait(30)


def run(path: Path, spec: RunSpec, known: Mapping[str, str], seconds: float) -> int:
    """The launcher's exit code, asked for as worker.warm asks. Raises Refused."""
    spec.workspace.mkdir(parents=True)
    file = spec.workspace / "run.json"
    file.write_text(spec.model_dump_json())
    with (spec.workspace / "launcher.log").open("ab") as output, warm.connect(path, 10.0) as link:
        asked = {"spec": str(file), "ranks": spec.world_size, "environment": dict(known)}
        warm.send(link, asked, output.fileno())
        launcher = processes.parse(warm.hear(link)["launcher"])
        warm.say(link, {"go": True})
        link.settimeout(seconds)
        try:
            return int(warm.hear(link)["exit"])
        finally:
            launcher.kill()
