"""Supervisors and Tasks as forks of one process that has imported all they need: a start costs milliseconds.

It waits at a pipe whose other end is the worker's alone: the worker's death is its end. Its forks belong to nobody, as
what spawn.detached starts: they outlive both.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from core import landlock, processes
from core.objects.store import Store
from worker import supervisor, task

PROGRAMS: dict[str, Callable[[list[str], Store], int]] = {
    "worker.supervisor": supervisor.main,
    "worker.task": task.main,
}


def main() -> int:
    """Until the pipe ends; in a fork, the program's exit code."""
    landlock.hide()  # and with it every fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the forks
    store = Store.from_settings()  # it connects when it is used
    # What is here now is shared by every fork: the collector shall not touch, and so copy, its pages.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if os.fork() == 0:
            become(asked["module"], asked["arguments"], Path(asked["log"]))
            return PROGRAMS[asked["module"]](asked["arguments"], store)
    return 0


def become(module: str, arguments: list[str], log: Path) -> None:
    """What a process of its own would be: its session, its streams, its name."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log.parent.mkdir(parents=True, exist_ok=True)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)
    processes.rename(" ".join([sys.executable, "-m", module, *arguments]), keep_environment=True)


if __name__ == "__main__":
    sys.exit(main())
