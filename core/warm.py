"""What a node's warm trainer and its askers agree on: its name, its socket, and JSON lines over it.

asker: {"spec", "ranks", "environment"} with descriptors: the warm trainer's own lock, which no trainer can open, a log,
and what the ranks may (core.landlock), where they are not to have all · launcher: {"launcher": "pid:start time"}, or
{"refused": why} · asker: {"go": true}, once the launcher is written down · launcher, at its end: {"exit": code}.
"""

import contextlib
import hashlib
import json
import os
import socket
import struct
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "planning", "trainer")
# Of one job, not of the node.
OF_A_JOB = (
    *("HOME", "TMPDIR", "PALATE_SUPERVISOR", "CUDA_VISIBLE_DEVICES"),
    *("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "MASTER_ADDR", "MASTER_PORT"),
)
LIMIT_BYTES = 1 << 20


class Refused(Exception):
    """It is not there, is still starting, or will not."""


def code() -> str:
    """Changes with our code, with what is installed, and with the interpreter."""
    found = hashlib.sha256(f"{sys.executable} {sys.version} {ROOT}".encode())
    found.update(str(os.stat(sysconfig.get_paths()["purelib"]).st_mtime_ns).encode())
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            seen = path.stat()
            found.update(f"{path} {seen.st_mtime_ns} {seen.st_size}".encode())
    return found.hexdigest()


def name(environment: Mapping[str, str]) -> str:
    """One warm trainer serves one code in one environment; another of either has another name."""
    known = sorted((key, value) for key, value in environment.items() if key not in OF_A_JOB)
    return hashlib.sha256(f"{code()} {known}".encode()).hexdigest()[:16]


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """The path of a socket, whose limit is 107 bytes, through its folder's descriptor."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, seconds: float) -> socket.socket:
    """Raises Refused."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(seconds)
    try:
        with short(path) as address:
            link.connect(address)
        if peer(link) != os.getuid():
            raise Refused("another user listens at its socket")
    except OSError as error:
        link.close()
        raise Refused(f"it does not listen: {error.strerror}") from error
    except Refused:
        link.close()
        raise
    return link


def peer(link: socket.socket) -> int:
    """The uid of the process at the other end, as the kernel knows it."""
    _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def say(link: socket.socket, message: Mapping[str, Any]) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


def send(link: socket.socket, message: Mapping[str, Any], *descriptors: int) -> None:
    """With open files of ours."""
    socket.send_fds(link, [b" "], descriptors)
    say(link, message)


def hear(link: socket.socket) -> dict[str, Any]:
    """The next line. Raises Refused where the other end left or said something else."""
    return parse(link, b"")


def parse(link: socket.socket, begun: bytes) -> dict[str, Any]:
    """As `hear`, where the first bytes are here already."""
    line = begun
    try:
        while not line.endswith(b"\n"):
            more = link.recv(65_536)
            if not more or len(line) > LIMIT_BYTES:
                raise Refused("it left without a word")
            line += more
        found = json.loads(line)
    except (OSError, ValueError) as error:
        raise Refused(f"it does not answer: {error}") from error
    if not isinstance(found, dict) or "refused" in found:
        raise Refused(str(found))
    return found
