"""Starting the trainer, by this node's warm one or cold; its environment is a list, never a copy of ours."""

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from core import beneath, processes, settings
from core.contract import failpoints
from core.db import seats
from core.warm import Refused
from worker import devices as node
from worker import isolation, warm
from worker.workspace import Workspace

log = logging.getLogger(__name__)
Launched = subprocess.Popen[bytes] | warm.Launched
COLD = "{python} -m trainer launch --ranks {ranks} --spec {spec}"
PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "DS_ACCELERATOR"),
    *("CC", "CXX", "CPATH", "LIBRARY_PATH"),  # of the compiler that Triton calls
)
PASSED_ON_PREFIXES = ("CUDA_", "NCCL_", "OMP_", "NVIDIA_", "GLOO_", "PYTORCH_", "TORCH_", "TORCHINDUCTOR_", "TRITON_")


def environment(folder: Path, devices: Sequence[str] = ()) -> dict[str, str]:
    """No secret of the service is in it. `devices`: the GPUs of the run's seat, by UUID, and no others."""
    passed = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    shown = {} if all(each.startswith(seats.CPU) for each in devices) else {"CUDA_VISIBLE_DEVICES": ",".join(devices)}
    threads = max(1, (os.cpu_count() or 1) // len(node.names()))
    return {
        "OMP_NUM_THREADS": str(threads),
        # Rows differ in length: without it the allocator's pieces fit none of the next.
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        **passed,
        **shown,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        **compiled(),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        **({"PALATE_FAILPOINTS": failpoints.FOLDER} if failpoints.FOLDER else {}),
    }


def of_run(space: Workspace, devices: Sequence[str]) -> dict[str, str]:
    """As `environment`; what it leaves lying about is not among what we read."""
    home = space.path / "tmp"
    home.mkdir(exist_ok=True)
    return environment(space.path, devices) | {"HOME": str(home), "TMPDIR": str(home)}


def compiled() -> dict[str, str]:
    """What is compiled for GPUs outlives the attempt, by torch's version: an attempt would take minutes for it.

    One kernel a graph: a pool of compilers in each rank would stand idle.
    """
    folder = settings.worker().scratch / "compiled" / metadata.version("torch")
    names = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "CUDA_CACHE_PATH": "cuda"}
    kept = {name: str(folder / own) for name, own in names.items()}
    return {**kept, "TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCH_WARM_POOL": "0"}


def command(space: Workspace, ranks: int) -> list[str]:
    template = settings.worker().trainer_command or COLD
    return [part.format(python=sys.executable, ranks=ranks, spec=space.spec) for part in shlex.split(template)]


def wants_warm() -> bool:
    own = settings.worker()
    return own.launcher == "warm" and not own.trainer_command


def warm_up() -> None:
    """For the first job of this node; returns at once."""
    if wants_warm():
        warm.start(environment(settings.worker().scratch))


def launch(space: Workspace, ranks: int, devices: Sequence[str] = ()) -> Launched:
    """From the warm trainer where it serves, else cold, and then a warm trainer is started for the next job."""
    if not wants_warm():
        return cold(space, ranks, devices)
    known = of_run(space, devices)
    log_path = space.path / "logs" / "launcher.log"
    try:
        with isolation.ruleset(lambda: isolation.of_run(space, ranks, known)) as rules:
            return warm.launch(space.spec, ranks, known, space.launcher, log_path, rules)
    except Refused as refused:
        log.info("no warm trainer (%s): a cold start", refused)
    process = cold(space, ranks, devices)
    warm.start(environment(space.path))
    return process


def cold(space: Workspace, ranks: int, devices: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """From the main thread: the launcher dies with the thread that makes it, and the ranks with the launcher."""
    known = of_run(space, devices)
    with (
        (space.path / "logs" / "launcher.log").open("ab") as output,
        isolation.ruleset(lambda: isolation.of_run(space, ranks, known)) as rules,
    ):
        process = subprocess.Popen(
            command(space, ranks),
            cwd=space.path,
            env={**known, "PALATE_SUPERVISOR": str(processes.this_process())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=isolation.begin(rules),
        )
    processes.of(process.pid).sign(space.launcher)
    return process


def stop(space: Workspace, process: Launched, grace_seconds: float) -> None:
    """SIGTERM, the grace, then SIGKILL to every process that the workspace records, until none is left."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    processes.kill_all(space.processes())


def end(space: Workspace, process: Launched) -> None:
    """At once: SIGKILL to all of them, the launcher first."""
    process.kill()
    process.wait()
    processes.kill_all(space.processes())


def last_words(space: Workspace, size: int = 2_000) -> str:
    try:
        return beneath.tail(space.path, "logs/launcher.log", size).decode(errors="replace")
    except (FileNotFoundError, beneath.NotBeneath):
        return ""
