"""Starting a process that belongs to nobody: its own session, no parent that must outlive or reap it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core import settings

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


class Nursery:
    """The worker's side of worker.nursery: who dies there is not missed, the process is started without it."""

    NAME_ROOM = " " * 300  # its command line, in which a fork's name has to find room

    def __init__(self) -> None:
        self._pipe: int | None = None

    def make(self, log: Path) -> None:
        """Where none waits."""
        if self._pipe is None:
            theirs, self._pipe = os.pipe()
            try:
                detached("worker.nursery", self.NAME_ROOM, log=log, stdin=theirs)
            finally:
                os.close(theirs)

    def start(self, module: str, *arguments: str, log: Path) -> None:
        """As `detached`; what it is told before it has imported all waits for it."""
        named = settings.worker().lifeline
        # `palate up` ends what carries it: as a word of the command, for the environment is closed to its own user too.
        words = (*arguments, f"PALATE_LIFELINE={named}") if named else arguments
        if not self._told({"module": module, "arguments": words, "log": str(log)}):
            detached(module, *words, log=log)

    def _told(self, asked: dict[str, object]) -> bool:
        """False where nobody listens any more."""
        if self._pipe is None:
            return False
        try:
            os.write(self._pipe, json.dumps(asked).encode() + b"\n")  # less than a pipe holds: all of it, or an error
            return True
        except BrokenPipeError:
            self.close()
            return False

    def close(self) -> None:
        """Its end; its forks live on."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
