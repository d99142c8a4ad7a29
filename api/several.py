"""Several processes on one listener: each is an API by itself, and whoever is free takes the next connection."""

import logging
import os
import signal
import socket
import sys
import time

from core.processes import die_with_parent

STOPS = (signal.SIGTERM, signal.SIGINT)
HEARD = (*STOPS, signal.SIGCHLD)
# Where none has lived so long, another would die as soon: what is wrong is not in the process.
LIVES_SECONDS = 5.0
# Between two that die young, beside one that lives.
PAUSE_SECONDS = 1.0
log = logging.getLogger("uvicorn.error")


def fork(count: int, listener: socket.socket) -> None:
    """Returns in each of `count` new processes. The one that called stays within, forks another for each that dies,
    passes SIGTERM on, and leaves when the last has: with 0 where all was in order, with 1 where none lived.

    Before any thread, and any connection but `listener`, is made.
    """
    parent = os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    began: dict[int, float] = {}
    stopping, code, not_before = False, 0, 0.0
    while began or not stopping:
        while not stopping and len(began) < count and time.monotonic() >= not_before:
            child = os.fork()
            if not child:
                die_with_parent(parent)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
                return
            began[child] = time.monotonic()
        found = signal.sigtimedwait(HEARD, PAUSE_SECONDS)
        heard = found.si_signo if found else None
        for pid, status in ended(began):
            died, born = time.monotonic(), began.pop(pid)
            if stopping:
                continue
            log.error("API process %d ended by itself (%s)", pid, os.waitstatus_to_exitcode(status))
            if died - born < LIVES_SECONDS:
                not_before = died + PAUSE_SECONDS
                if all(died - each < LIVES_SECONDS for each in began.values()):
                    heard, code = signal.SIGTERM, 1
        if heard in STOPS:
            # The last one to close it frees the port.
            stopping = True
            listener.close()
            for pid in began:
                os.kill(pid, signal.SIGTERM)
    sys.exit(code)


def ended(began: dict[int, float]) -> list[tuple[int, int]]:
    """Pid and status of those that are dead; one signal may stand for several."""
    found = [os.waitpid(pid, os.WNOHANG) for pid in began]
    return [(pid, status) for pid, status in found if pid]
