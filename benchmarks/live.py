"""`palate up` on a home of its own for as long as a measurement takes; what its processes use, from /proc."""

import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # tests.models, whatever the current folder is

from core.db import engine as db  # noqa: E402
from core.objects.store import Store  # noqa: E402
from local.stack import Stack  # noqa: E402

MIB = 1 << 20
GIB = 1 << 30
READY_SECONDS = 150.0
STOP_SECONDS = 90.0


@dataclass
class Service:
    """A running one; `url` without /v1."""

    home: Path
    process: "subprocess.Popen[bytes]"
    url: str = ""
    api_key: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Where the three parts are, as a process of the service is told; the database by its owner, for VACUUM."""
        stack = Stack.running(self.home)
        return {**stack.environment, "DATABASE_URL": stack.postgres.owner_url}

    def client(self, url: str | None = None) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.api_key}"}
        return httpx.Client(base_url=f"{url or self.url}/v1", headers=headers, timeout=600, trust_env=False)

    def store(self) -> Store:
        parts = self.environment
        return Store(
            endpoint_url=parts["S3_ENDPOINT_URL"],
            bucket=parts["S3_BUCKET"],
            access_key=parts["AWS_ACCESS_KEY_ID"],
            secret_key=parts["AWS_SECRET_ACCESS_KEY"],
        )

    @contextmanager
    def database(self) -> Iterator[None]:
        """`core.db` in this process is the service's own."""
        db.configure(db.make_engine(self.environment["DATABASE_URL"]))
        try:
            yield
        finally:
            db.configure(None)

    def boto3(self) -> Any:
        """The peer: a client as boto3 makes it, every option at its default."""
        parts = self.environment
        return boto3.client(
            "s3",
            endpoint_url=parts["S3_ENDPOINT_URL"],
            aws_access_key_id=parts["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=parts["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def pid(self, word: str) -> int:
        """The child of `palate up` with this word in its command line."""
        return next(pid for pid in tree(self.process.pid)[1:] if word in command_line(pid))


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary one, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="palate-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(home: Path) -> Iterator[Service]:
    """Stopped again also when `timeout` ends the benchmark."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    service = start(home)
    try:
        yield service
    finally:
        stop(service)


def start(home: Path) -> Service:
    """Returns when the service answers that it can do work."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PALATE_REQUESTS_PER_SECOND", "0")  # one key asks for all
    log = home / "up.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up", "--home", str(home), "--port", "0"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(home, process)
    deadline = time.monotonic() + READY_SECONDS
    connection = home / "connection.json"
    while not connection.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(service)
            raise SystemExit(f"`palate up` did not become ready:\n{log.read_text()}")
        time.sleep(0.02)
    found = json.loads(connection.read_text())
    service.url, service.api_key = found["base_url"].removesuffix("/v1"), found["api_key"]
    return service


def stop(service: Service) -> None:
    if service.process.poll() is None:
        service.process.send_signal(signal.SIGTERM)
        try:
            service.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()


# Processes.


def tree(root: int) -> list[int]:
    """`root` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def status(pid: int | str, field: str, file: str = "status") -> int:
    """A line of /proc/PID/status or smaps_rollup, in bytes."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{field} is not in {file} of process {pid}")


class Peak:
    """How far a process's resident memory rises above where it was; by the kernel's own mark, so no peak is missed."""

    def __init__(self, pid: int | str = "self") -> None:
        self._pid = pid
        self._rest = status(pid, "VmRSS")
        self.begin()

    def begin(self) -> None:
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # VmHWM := VmRSS

    def growth(self) -> int:
        """Bytes between the rest, when this was made, and the peak since `begin`."""
        return status(self._pid, "VmHWM") - self._rest


class Detached:
    """The processes that a service's worker starts and that belong to nobody, found by their commands."""

    def __init__(self, service: Service, *words: str) -> None:
        self._home = str(service.home).encode()
        self._words = words
        self.most = 0

    def look(self) -> None:
        """Keeps the most that they held together, in bytes (PSS)."""
        held = 0
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                line = command_line(int(path.name))
                if any(word in line for word in self._words) and self._home in (path / "environ").read_bytes():
                    held += status(path.name, "Pss", "smaps_rollup")
        self.most = max(self.most, held)


# Figures.


def timed(act: Callable[[], Any]) -> float:
    """Seconds, begun with no page left to write: else a transfer pays for the one before it."""
    os.sync()
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def rate(size: int, seconds: Sequence[float]) -> float:
    """MiB/s at the median."""
    return size / MIB / statistics.median(seconds)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [[str(each) for each in row] for row in (head, *rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    print()
    for first, *rest in cells:
        print(
            first.ljust(widths[0]), *(each.rjust(width) for each, width in zip(rest, widths[1:], strict=True)), sep="  "
        )
    print()


def verdict(text: str) -> None:
    """The one line with the ratio, and on what it was measured."""
    print(f"{text} [{hardware()}; load {os.getloadavg()[0]:.1f}]", flush=True)


def hardware() -> str:
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / MIB
    gpus = sum(path.name[6:].isdigit() for path in Path("/dev").glob("nvidia*"))
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {gpus or 'no'} GPU, Python {platform.python_version()}"
