"""A Task's child process: limited in time, told no secret, dead with us."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from core import beneath
from core.contract.errors import PalateError
from worker import isolation
from worker.launcher import environment

LOOK_SECONDS = 0.5
TAIL_BYTES = 2_000
# Of what it leaves for us.
ANSWER_BYTES = 256 << 20
# Who trains and who answers goes before what somebody uploaded.
NICE = 10


class ChildFailed(PalateError):
    """The child crashed, was killed, or ran out of time or memory; `last_line` is what it said last."""

    code = "child_failed"

    def __init__(self, message: str, *, exit_code: int | None = None, last_line: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.last_line = last_line


class TookTooLong(ChildFailed):
    """It would again: a verdict on what it was given, not a crash."""

    code = "took_too_long"


def gives_way(begin: Callable[[], None]) -> Callable[[], None]:
    """In the child, before anything else of it."""

    def begins() -> None:
        os.nice(NICE)
        begin()

    return begins


def run(
    folder: Path,
    module: str,
    *arguments: str,
    wall_seconds: float,
    alive: Callable[[], None],
    read: Sequence[Path] = (),
) -> None:
    """`python -m module arguments` in `folder`; `alive` is called each half second and may raise to end the child.

    It fills that folder, and of what is not code reads `read`.

    From the main thread: the child dies with the thread that makes it.
    """
    log = folder / "child.log"
    with log.open("ab") as output, isolation.ruleset(lambda: isolation.of_task(folder, read)) as rules:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=gives_way(isolation.begin(rules)),
        )
    try:
        waited = 0.0
        while process.poll() is None:
            try:
                look = min(LOOK_SECONDS, wall_seconds - waited)
                process.wait(look)
            except subprocess.TimeoutExpired:
                waited += look
                alive()
                if waited >= wall_seconds:
                    raise TookTooLong(f"{module} took longer than {wall_seconds:.0f} s.") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        try:
            tail = beneath.tail(folder, log.name, TAIL_BYTES).decode(errors="replace")
        except (FileNotFoundError, beneath.NotBeneath):
            tail = "it left no log"
        raise ChildFailed(
            f"{module} ended with exit code {process.returncode}: {tail}",
            exit_code=process.returncode,
            last_line=(tail.strip().splitlines() or [""])[-1],
        )


def answer(path: Path) -> bytes:
    """What a child has left in its folder. Raises ChildFailed where it is no file of its own."""
    try:
        return beneath.read(path.parent, path.name, ANSWER_BYTES)
    except (FileNotFoundError, beneath.NotBeneath) as error:
        raise ChildFailed(f"The child left no {path.name}: {error}") from error
