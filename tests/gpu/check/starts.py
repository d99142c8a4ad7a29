"""How ranks come to be: forks of a warm trainer that may use the device and NCCL, and a run from each launcher."""

import subprocess
import sys
import time

from tests.gpu.check.part import Asked, Seen, Wrong
from tests.gpu.parents import environment, serving
from tests.gpu.warm_runs import WarmRun
from tests.launch import ROOT, Run


def launch(asked: Asked) -> Seen:
    from tests.gpu.test_runs import spec

    known = environment(asked.threads)
    seconds = added(asked, known)
    folder = asked.folder / "starts"
    folder.mkdir()
    short = spec(folder)
    short = short.model_copy(update={"settings": short.settings.model_copy(update={"max_steps": 2})})
    began = time.time()
    cold = Run(short.model_copy(update={"workspace": folder / "cold"}), environment=known)
    ended(asked, cold, "cold")
    with serving(folder / "node", known) as parent:
        asked_at = time.time()
        warm = WarmRun(parent, short.model_copy(update={"workspace": folder / "warm"}), known)
        ended(asked, warm, "warm")
    seen = Seen(f"{asked.devices} ranks of a warm trainer added up; a run, cold and warm")
    seen.add("seconds from the fork to the sum", f"{seconds:.2f}")
    for run, start, word in ((cold, began, "cold"), (warm, asked_at, "warm")):
        seen.add(f"seconds to `started`, {word}", f"{run.events('started')[0]['time'] - start:.2f}")
    return seen


def added(asked: Asked, known: dict[str, str]) -> float:
    """Seconds from the first fork to the last rank's sum (tests.gpu.check.collective)."""
    command = [sys.executable, "-m", "tests.gpu.check.collective", str(asked.devices)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=known, capture_output=True, text=True, check=False, timeout=asked.left
        )
    except subprocess.TimeoutExpired:
        raise Wrong("the sum over the ranks of a warm trainer is not done in time: NCCL or the fork hangs") from None
    if done.returncode:
        raise Wrong(f"no sum over the ranks of a warm trainer: {(done.stdout + done.stderr)[-1500:]}")
    return float(done.stdout.split()[-1])


def ended(asked: Asked, run: Run, word: str) -> None:
    code = run.code(asked.left)
    if code:
        raise Wrong(f"a {word} run ended with {code}: {run.logs()[-1500:]}")
