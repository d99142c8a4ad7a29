"""What a pass through a model costs on this node (trainer.calibrate): once a node and code, beside its work."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from core import processes, settings, warm
from planning.node import Calibration
from worker import launcher

log = logging.getLogger(__name__)
MOST_SECONDS = 600.0
_known: list[Calibration] = []


def known() -> Calibration | None:
    """None until it is there."""
    return _known[0] if _known else None


def begin() -> None:
    """Returns at once; nothing waits for it, and what fails here costs a forecast its exactness and no more."""
    if not settings.worker().trainer_command:
        threading.Thread(target=take, name="calibration", daemon=True).start()


def take() -> None:
    """From the disk where this code has measured this node before; else in a process of the trainer's."""
    path = settings.worker().scratch / "calibration" / f"{warm.code()[:16]}.json"
    try:
        found = kept(path)
        if found is None:
            found = measure()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found.model_dump_json())
        _known[:] = [found]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("the node is not calibrated: %s", error)


def kept(path: Path) -> Calibration | None:
    """None where it is not there, or not whole: it is only measured again."""
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def stand_back() -> None:
    """In the child: others first; and it ends with this worker."""
    os.nice(19)
    processes.die_with_parent()


def measure() -> Calibration:
    """As a rank has its threads, at the lowest priority. Raises OSError, SubprocessError, and ValueError where the
    trainer's answer is none."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "trainer", "calibrate"],
        env=launcher.environment(settings.worker().scratch),
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        preexec_fn=stand_back,
    )
    if done.returncode:
        raise ValueError(f"exit {done.returncode}: {done.stderr[-500:]}")
    return Calibration.model_validate_json(done.stdout)
