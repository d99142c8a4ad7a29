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
# One that dies sooner would die again: what stands wrong is not in the process.
LIVES_SECONDS = 5.0
log = logging.getLogger("uvicorn.error")


def fork(count: int, listener: socket.socket) -> None:
    """Returns in each of `count` new processes. The one that called stays within, forks another for each that dies,
    passes SIGTERM on, and leaves when the last has: with 0 where all was in order, with 1 where one died at once.

    Before any thread, and any connection but `listener`, is made.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    began: dict[int, float] = {}
    stopping, code = False, 0
    while began or not stopping:
        while not stopping and len(began) < count:
            child = os.fork()
            if not child:
                die_with_parent(parent)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
                return
            began[child] = time.monotonic()
        heard = signal.sigwait(HEARD)
        for pid, status in ended(began):
            lived = time.monotonic() - began.pop(pid)
            if os.waitstatus_to_exitcode(status) and not stopping:
                log.error("API process %d ended by itself (%s)", pid, os.waitstatus_to_exitcode(status))
            if not stopping and lived < LIVES_SECONDS:
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
