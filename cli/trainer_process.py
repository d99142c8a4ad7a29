"""What only the trainer can say of a model: a process of its own, since no torch is loaded here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from core import processes
from core.contract.errors import BadModel, PalateError
from core.contract.exits import Exit
from planning.facts import Built

PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "OMP_NUM_THREADS")
SECONDS, CHECK_SECONDS = 3600, 600


def check(folder: Path, workspace: Path, *flags: str) -> Built:
    return Built.model_validate(ask(workspace, "check", str(folder), *flags, seconds=CHECK_SECONDS))


def ask(workspace: Path, *arguments: str, seconds: int = SECONDS) -> Any:
    """Its answer, JSON on stdout. Raises BadModel for what it refuses."""
    known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    # Nothing is looked for on the net, no GPU is touched.
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            # -P: never a module of the folder that one happens to stand in.
            [sys.executable, "-P", "-m", "trainer", *arguments],
            env={**known, **quiet, "HOME": str(workspace), "TMPDIR": str(workspace)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            preexec_fn=processes.die_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise PalateError(f"The trainer did not answer within {seconds} s.") from None
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [""])[-1]
    code, _, message = last.partition(": ")
    if done.returncode == Exit.BAD_MODEL:
        raise BadModel(message, code=code)
    if "No module named" in last:
        raise PalateError(
            f"A model is checked with the trainer's libraries, and one is missing here ({message or last}): install "
            "`palate[trainer]`, or add the model on a worker."
        )
    killed = f"the system ended it (signal {-done.returncode}), mostly for want of memory"
    raise PalateError(f"The trainer failed: {killed if done.returncode < 0 else message or last}")
