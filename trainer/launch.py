"""The launcher of a run on one node: it starts the ranks and ends all when one fails.

Warm: a fork of the warm trainer, whose ranks are forks of it. Cold (`python -m trainer launch`): a process of its own,
whose ranks are new ones; it imports no torch. Either way the ranks meet on the loopback interface alone.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core import landlock, processes, warm
from core.processes import Process
from trainer import rank

GO_SECONDS = 10.0
GRACE_SECONDS = 5.0
BUG = 70
LOOPBACK = "127.0.0.1"
STORE = "PALATE_STORE_DESCRIPTOR"
# Begins the rank of this number in this environment, given the store's open socket; returns its pid.
Begin = Callable[[int, Mapping[str, str], socket.socket], int]


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


def main(asked: dict[str, Any], link: socket.socket, output: int, rules: int | None = None) -> int:
    """Warm. The exit code, which the asker hears too: 0 when every rank left with 0, else 1."""
    os.setsid()
    signal.signal(signal.SIGTERM, end)
    for number in (signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    begin_anew(asked["environment"], Path(asked["spec"]), output)
    if rules is not None:
        landlock.enter(rules)
        os.close(rules)
    supervisor = processes.handle(processes.parse(os.environ[rank.SUPERVISOR]))
    if supervisor is None:
        return 1
    warm.say(link, {"launcher": str(processes.this_process())})
    link.settimeout(GO_SECONDS)
    warm.hear(link)
    code = attend(int(asked["ranks"]), forked(Path(asked["spec"]), link), supervisor)
    with contextlib.suppress(OSError):
        warm.say(link, {"exit": code})
    return code


def cold(spec: Path, size: int, program: Sequence[str]) -> int:
    """The exit code, as `main`'s. `program`: what Python runs as a rank."""
    signal.signal(signal.SIGTERM, end)
    supervisor = None
    if named := os.environ.get(rank.SUPERVISOR):
        supervisor = processes.handle(processes.parse(named))
        if supervisor is None:
            return 1
    return attend(size, spawned([sys.executable, *program, "--spec", str(spec)]), supervisor)


def attend(size: int, begin: Begin, supervisor: int | None) -> int:
    """From the first rank's start until none is left."""
    code = 1
    ranks: dict[int, Process] = {}
    try:
        start(size, begin, ranks)
        code = follow(ranks, supervisor)
    except Ended:
        print("launcher: asked to end", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all(ranks)
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


def start(size: int, begin: Begin, ranks: dict[int, Process]) -> None:
    """Rank 0 serves the others' store at a socket that is open before any of them looks for it."""
    with socket.socket() as store:
        store.bind((LOOPBACK, 0))
        store.listen(size + 8)
        for number in range(size):
            known = place(number, size, store.getsockname()[1])
            if number == 0:
                known[STORE] = str(store.fileno())
            ranks[number] = processes.of(begin(number, known, store))


def forked(spec: Path, link: socket.socket) -> Begin:
    def begin(number: int, known: Mapping[str, str], store: socket.socket) -> int:
        def life() -> int:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            link.close()
            os.environ.update(known)
            if number == 0:
                store.detach()
            else:
                store.close()
            return rank.live(spec)

        return fork(life)

    return begin


def spawned(command: list[str]) -> Begin:
    def begin(number: int, known: Mapping[str, str], store: socket.socket) -> int:
        store.set_inheritable(number == 0)
        defaults = [signal.SIGTERM]
        return os.posix_spawn(command[0], command, {**os.environ, **known}, setsid=True, setsigdef=defaults)

    return begin


def place(number: int, size: int, port: int) -> dict[str, str]:
    """The variables by which torch knows a rank, and the one interface on which ranks listen and call."""
    mine, all_of = str(number), str(size)
    known = {"RANK": mine, "LOCAL_RANK": mine, "WORLD_SIZE": all_of, "LOCAL_WORLD_SIZE": all_of}
    # NCCL takes a name without `=` for a beginning.
    interfaces = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "=lo"}
    return {**known, **interfaces, "MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(port)}


def follow(ranks: dict[int, Process], supervisor: int | None) -> int:
    """Until all left with 0, or the first did not. Ends all, itself too, when the supervisor is gone."""
    poller = select.poll()
    if supervisor is not None:
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
