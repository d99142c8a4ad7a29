"""Starting a process that belongs to nobody: its own session, no parent that must outlive or reap it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

INTERMEDIATE = (
    "import subprocess, sys\n"
    "log = open(sys.argv[1], 'ab')\n"
    "subprocess.Popen(sys.argv[2:], stdout=log, stderr=log, start_new_session=True)\n"
)


def detached(
    module: str,
    *arguments: str,
    log: Path,
    environment: Mapping[str, str] = os.environ,
    stdin: int = subprocess.DEVNULL,
) -> None:
    """Runs `python -m module arguments`; the short-lived process in between is reaped here."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-S", "-E", "-c", INTERMEDIATE, str(log), sys.executable, "-m", module, *arguments]
    subprocess.run(command, check=True, timeout=30, env=dict(environment), stdin=stdin)
