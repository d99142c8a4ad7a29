"""A supervisor made ahead: it has imported what it needs and waits for its lease; a job starts most of a second sooner.

It waits at a pipe whose other end is the worker's alone: the worker's death is its end, unless it was told before.
"""

import json
import os
import sys
from pathlib import Path

from worker import spawn

WORD = "--standby"


class Standby:
    """Of one module; the one that waits is used once, and another is made when the worker has nothing else to do."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._pipe: int | None = None

    def make(self, log: Path) -> None:
        """Where none waits."""
        if self._pipe is None:
            theirs, self._pipe = os.pipe()
            try:
                spawn.detached(self._module, WORD, log=log, stdin=theirs)
            finally:
                os.close(theirs)

    def start(self, *arguments: str, log: Path) -> None:
        """Tells the one that waits; where there is none, or it has died, another process is started."""
        pipe, self._pipe = self._pipe, None
        if pipe is None or not tell(pipe, list(arguments)):
            spawn.detached(self._module, *arguments, log=log)


def tell(pipe: int, words: list[str]) -> bool:
    """False where nobody listens any more."""
    try:
        os.write(pipe, json.dumps(words).encode() + b"\n")  # less than a pipe holds: all of it, or an error
        return True
    except BrokenPipeError:
        return False
    finally:
        os.close(pipe)


def arguments(given: list[str]) -> list[str]:
    """In the process that was made ahead: what it is told. It ends where the worker does."""
    if given != [WORD]:
        return given
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        sys.exit(0)
    told: list[str] = json.loads(line)
    return told
