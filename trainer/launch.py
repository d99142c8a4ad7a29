"""What torchrun does for the ranks of one node, in a fork of the warm trainer: start all, end all when one fails."""

import contextlib
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core import processes, warm
from core.processes import Process
from trainer import rank

GO_SECONDS = 10.0
GRACE_SECONDS = 5.0
BUG = 70
STORE = "PALATE_STORE_DESCRIPTOR"


class Ended(BaseException):
    """SIGTERM."""


def fork(life: Callable[[], int]) -> int:
    """The child's pid; the child lives its life and never comes back from here."""
    pid = os.fork()
    if pid:
        return pid
    code = BUG
    try:
        code = life()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(asked: dict[str, Any], link: socket.socket, output: int) -> int:
    """The exit code, which the asker hears too: 0 when every rank left with 0, else 1, as torchrun's."""
    os.setsid()
    signal.signal(signal.SIGTERM, end)
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    begin_anew(asked["environment"], Path(asked["spec"]), output)
    supervisor = processes.handle(processes.parse(os.environ[rank.SUPERVISOR]))
    if supervisor is None:
        return 1
    warm.say(link, {"launcher": str(processes.this_process())})
    link.settimeout(GO_SECONDS)
    warm.hear(link)
    code = 1
    ranks: dict[int, Process] = {}
    try:
        start(Path(asked["spec"]), int(asked["ranks"]), link, ranks)
        code = follow(ranks, supervisor)
    except Ended:
        print("launcher: asked to end", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all(ranks)
    with contextlib.suppress(OSError):
        warm.say(link, {"exit": code})
    return code


def end(*_: object) -> None:
    raise Ended


def begin_anew(environment: Mapping[str, str], spec: Path, output: int) -> None:
    """Nothing of the warm trainer but its modules: the job's own environment, folder, output and name."""
    processes.rename(f"{sys.executable} -m trainer --spec {spec}")
    os.environ.clear()
    os.environ.update(environment)
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    tempfile.tempdir = None
    os.chdir(spec.parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


def start(spec: Path, size: int, link: socket.socket, ranks: dict[int, Process]) -> None:
    """Rank 0 serves the others' store at a socket that is open before any of them looks for it."""
    with socket.socket() as store:
        store.bind(("127.0.0.1", 0))
        store.listen(size + 8)
        for number in range(size):

            def life(number: int = number) -> int:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                link.close()
                os.environ.update(place(number, size, store.getsockname()[1]))
                if number == 0:
                    os.environ[STORE] = str(store.detach())
                else:
                    store.close()
                return rank.live(spec)

            pid = fork(life)
            ranks[number] = processes.of(pid)


def place(number: int, size: int, port: int) -> dict[str, str]:
    """The variables that torchrun sets for a rank."""
    mine, all_of = str(number), str(size)
    known = {"RANK": mine, "LOCAL_RANK": mine, "WORLD_SIZE": all_of, "LOCAL_WORLD_SIZE": all_of}
    return {**known, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def follow(ranks: dict[int, Process], supervisor: int) -> int:
    """Until all left with 0, or the first did not. Ends all, itself too, when the supervisor is gone."""
    poller = select.poll()
    poller.register(supervisor, select.POLLIN)
    handles = {os.pidfd_open(process.pid): number for number, process in ranks.items()}
    for handle in handles:
        poller.register(handle, select.POLLIN)
    left = set(handles)
    while left:
        for handle, _ in poller.poll():
            if handle == supervisor:
                processes.kill_all(ranks.values())
                os._exit(processes.ORPHANED)
            poller.unregister(handle)
            left.discard(handle)
            number = handles[handle]
            code = os.waitstatus_to_exitcode(os.waitpid(ranks.pop(number).pid, 0)[1])
            if code:
                print(f"launcher: rank {number} ended with exit code {code}", file=sys.stderr)
                return 1
    return 0


def end_all(ranks: dict[int, Process]) -> None:
    """SIGTERM, a grace, SIGKILL; returns when all are reaped."""
    for process in ranks.values():
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in ranks.values():
        processes.wait(process, max(0.0, deadline - time.monotonic()))
    processes.kill_all(ranks.values())
    for process in ranks.values():
        os.waitpid(process.pid, 0)
