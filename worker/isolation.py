"""What a trainer, and each child that reads what users sent, keeps of this node: its job, and nothing else.

The rules are made here and entered by the child before its first line (cold, Tasks), or by the warm trainer's fork
before the first rank. docs/isolation.md says what they hold and what they leave.
"""

import contextlib
import os
import shlex
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core import landlock, processes, settings
from core.contract import failpoints
from core.contract.run_spec import RunSpec
from core.landlock import Rules
from worker.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "planning", "preferences", "trainer", "worker")
SYSTEM = [
    Path(each)
    for each in (
        *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt/nvidia", "/proc", "/sys"),
        *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives"),
        *("/etc/localtime", "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts"),
        *("/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf", "/etc/mime.types", "/etc/nvidia", "/etc/nccl.conf"),
        *("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"),
    )
]
# Of the compiler and the libraries, as launcher.environment passes them on.
PLACES = ("LD_LIBRARY_PATH", "CPATH", "LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH")
DEVICES = Path("/dev")
PLAIN_DEVICES = ("null", "zero", "full", "random", "urandom")
# What a trainer fills; the rest of its workspace it reads: who ends which process is not for it to write.
FILLED = ("ranks", "logs", "checkpoints", "resume", "reference", "verify", "universal", "tmp")
PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
FULL_ABI = 6
# From which ABI on what holds; Linux has it since.
HOLDS = (
    (1, "files", "5.13", "files outside the job"),
    (1, "traces", "5.13", "/proc/PID/environ and ptrace of other processes"),
    (3, "sizes", "6.2", "cutting files outside the job short"),
    (4, "ports", "6.7", "TCP ports of others"),
    (5, "ioctl", "6.10", "ioctl on devices that are no GPUs"),
    (6, "signals", "6.12", "signals and abstract sockets of other processes"),
)


def on() -> bool:
    return settings.worker().isolation != "off" and landlock.abi() > 0


def told() -> dict[str, Any]:
    """For the node's row and the run's first event: the kernel's ABI, what holds by it, and what does not."""
    found = landlock.abi() if on() else 0
    return {
        "abi": found,
        "holds": [name for least, name, _, _ in HOLDS if found >= least],
        "lacks": [name for least, name, _, _ in HOLDS if found < least],
    }


def require() -> None:
    """Ends a worker that is to isolate its trainers on a kernel that cannot."""
    if settings.worker().isolation != "require" or landlock.abi() >= FULL_ABI:
        return
    lacking = "; ".join(f"{what} (Linux {since})" for least, _, since, what in HOLDS if landlock.abi() < least)
    raise SystemExit(
        f"PALATE_ISOLATION is require, and this kernel's Landlock (ABI {landlock.abi()}, {FULL_ABI} is wanted) cannot "
        f"close to a trainer: {lacking}. Start a newer kernel with lsm=landlock,…; or set PALATE_ISOLATION=auto, and "
        "what is missing is told with each run."
    )


def of_run(space: Workspace, ranks: int, environment: Mapping[str, str]) -> Rules:
    """Reads the run's spec, and makes what the trainer fills."""
    for name in FILLED:
        (space.path / name).mkdir(exist_ok=True)
    space.events.touch()
    spec = RunSpec.model_validate_json(space.spec.read_bytes())
    given = [spec.model_dir, spec.train_data, spec.eval_data, *spec.reference_entries]
    given += [each.path for each in (spec.resume_from, spec.unverified) if each is not None]
    kept = [Path(environment[name]) for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH")]
    for folder in kept:
        folder.mkdir(parents=True, exist_ok=True)
    named = [Path(word).parent for word in shlex.split(settings.worker().trainer_command) if word.endswith(".py")]
    return Rules(
        read=[*code(environment), *named, space.path, *(each for each in given if each is not None)],
        write=[*(space.path / name for name in FILLED), space.events, *kept, *points(), DEVICES / "shm"],
        use=[*devices(), *sorted(DEVICES.glob("nvidia*"))],
        look=[ROOT],
        bind=[0],
        connect=ephemeral() if ranks > 1 else (),
    )


def of_task(folder: Path, read: Sequence[Path]) -> Rules:
    """A Task's child fills its folder, and reaches nobody."""
    return Rules(read=[*code(os.environ), *read], write=[folder, *points()], use=devices(), look=[ROOT])


def code(environment: Mapping[str, str]) -> list[Path]:
    """What the interpreter, its libraries and our own rooms consist of; no folder that holds anything else of ours."""
    python = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *sysconfig.get_paths().values()}
    named = [each for name in PLACES for each in environment.get(name, "").split(os.pathsep) if each]
    found = [*SYSTEM, *map(Path, python), Path(site.getusersitepackages()), *map(Path, named)]
    return [*found, *(ROOT / room for room in ROOMS)]


def points() -> list[Path]:
    """Where failpoints are armed and passed; none in production."""
    return [Path(failpoints.FOLDER)] if failpoints.FOLDER else []


def devices() -> list[Path]:
    return [DEVICES / name for name in PLAIN_DEVICES]


def ephemeral() -> Iterable[int]:
    """Where gloo and NCCL listen: the kernel chooses, and nothing tells us before. The parts' own ports lie below."""
    first, last = map(int, PORTS.read_text().split())
    return range(first, last + 1)


@contextlib.contextmanager
def ruleset(rules: Callable[[], Rules]) -> Iterator[int | None]:
    """A descriptor to `landlock.enter`; None where nothing is to be entered."""
    if not on():
        yield None
        return
    found = landlock.ruleset(rules())
    try:
        yield found
    finally:
        os.close(found)


def begin(descriptor: int | None) -> Callable[[], None]:
    """What a child does before its first line: it dies with us, and gives up what it does not need."""
    return processes.die_with_parent if descriptor is None else partial(_begin, descriptor)


def _begin(descriptor: int) -> None:
    processes.die_with_parent()
    landlock.enter(descriptor)
