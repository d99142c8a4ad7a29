"""`python -m trainer warm`: all that a run imports, imported once a node; each job is a fresh fork of it.

It never computes: no tensor, no call of CUDA or NVML, one thread, so that a fork is as good as a new process. It
belongs to nobody: who restarts the worker neither stops nor adopts it. It leaves with `palate up`, when its code has
changed, when nobody asks for hours; after many jobs it begins anew.
"""

import argparse
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from core import processes, warm

log = logging.getLogger(__name__)
LIFELINE = "PALATE_LIFELINE"
DEVICES = Path("/dev")
NOT_INITIALIZED = 3  # CUDA_ERROR_NOT_INITIALIZED
PRELOADED = (
    "torch.distributed",
    "deepspeed.runtime.zero.stage3",
    "deepspeed.runtime.zero.muon.muon_optimizer",  # through torch.compile it brings all of inductor
    "transformers.integrations",
    "transformers.modeling_utils",
    "transformers.generation",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.tokenization_utils_tokenizers",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen3.modeling_qwen3",
    "peft",
    "jinja2.sandbox",
    "safetensors.torch",
    "trainer.launch",
    "trainer.run",
)
ASK_SECONDS = 2.0
# The lock, the log, the rules.
DESCRIPTORS = 3
LOOK_SECONDS = 60.0
LIFELINE_SECONDS = 0.25


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="trainer warm")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=200, help="begins anew after so many")
    parser.add_argument("--idle-seconds", type=float, default=14_400.0)
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asked.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with asked.socket.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # another was quicker
        code = warm.code()
        signal.signal(signal.SIGALRM, leave_with_lifeline)
        signal.setitimer(signal.ITIMER_REAL, LIFELINE_SECONDS, LIFELINE_SECONDS)
        preload()
        signal.setitimer(signal.ITIMER_REAL, 0.0)  # from here on a pidfd tells it
        server = Server(asked.socket, code, asked.jobs, asked.idle_seconds)
        server.serve()
        if server.worn_out:
            log.info("%d jobs: begins anew", server.jobs)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, "-m", "trainer", "warm", *arguments])
    return 0


def leave_with_lifeline(*_: object) -> None:
    """While modules are imported, for seconds, nothing else would look."""
    named = os.environ.get(LIFELINE)
    if named and not processes.parse(named).alive():
        os._exit(0)


def preload() -> None:
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's would start its threads when it is imported
    os.environ.setdefault("DS_ACCELERATOR", accelerator())
    from trainer import engine

    engine.quiet_deepspeed()
    for module in PRELOADED:
        importlib.import_module(module)
    # What is here now is shared by every fork: the collector shall not touch, and so copy, its pages.
    gc.collect()
    gc.freeze()


def accelerator() -> str:
    """DeepSpeed's. Left to find it, it counts devices by NVML, which is never closed again and survives no fork."""
    from torch.backends import cuda

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    built: bool = cuda.is_built()  # type: ignore[no-untyped-call]
    return "cuda" if built and not hidden and any(DEVICES.glob("nvidia[0-9]*")) else "cpu"


def condition() -> dict[str, Any]:
    """What `unfit` judges before a fork. `open`: files of GPUs; a fork closes them, and NVML in it would not know."""
    from torch import cuda

    initialized: bool = cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "cuda_initialized": initialized or driver_initialized(),
        "open": opened(),
    }


def driver_initialized() -> bool:
    """Whether anybody called cuInit, by the driver itself: torch does not hear of calls that go round it (Triton's).

    Before cuInit every other function answers CUDA_ERROR_NOT_INITIALIZED (CUDA Driver API, Initialization). The driver
    is not loaded for this question: in a process that has not loaded it, nobody has called it.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    return int(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int()))) != NOT_INITIALIZED


def opened() -> list[str]:
    """Files of GPUs that this process has open, each once: /dev/nvidiactl, /dev/nvidia0, ..."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(path for path in found if path.startswith(f"{DEVICES}/nvidia"))


def unfit(found: dict[str, Any]) -> str | None:
    """Why a fork of this process would not be as good as a new one; None where it would."""
    if found["cuda_initialized"]:
        return "CUDA is initialized in it (cuInit): a fork of it could not use a GPU"
    if found["open"]:
        return f"it has {', '.join(found['open'])} open, as NVML leaves them: a fork of it could not use NVML or NCCL"
    if found["threads"] != 1:
        return f"it has {found['threads']} threads, of which a fork has one"
    return None


class Server:
    def __init__(self, path: Path, code: str, jobs_limit: int, idle_seconds: float) -> None:
        self.path = path
        self.code = code
        self.jobs = 0
        self.jobs_limit = jobs_limit
        self.idle_seconds = idle_seconds

    @property
    def worn_out(self) -> bool:
        return self.jobs >= self.jobs_limit

    def serve(self) -> None:
        """Until it is time to leave."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the launchers
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                log.info("a launcher ended while this process began anew")
        self.path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, warm.short(self.path) as address:
            listener.bind(address)
            listener.listen(16)
            log.info("process %d is warm: %s", os.getpid(), condition())
            poller = select.poll()
            poller.register(listener, select.POLLIN)
            lifeline = self._lifeline()
            if lifeline is not None:
                poller.register(lifeline, select.POLLIN)
            heard = time.monotonic()
            while True:
                ready = {descriptor for descriptor, _ in poller.poll(LOOK_SECONDS * 1_000)}
                if lifeline in ready:
                    os._exit(0)
                if listener.fileno() in ready:
                    heard = time.monotonic()
                    self._answer(listener)
                if self.worn_out or time.monotonic() - heard > self.idle_seconds or warm.code() != self.code:
                    break
            self.path.unlink(missing_ok=True)

    def _opened_lock(self, descriptor: int) -> bool:
        """Whether it is our own lock, opened to be read: a trainer that was taken over, of the same user, cannot."""
        lock = self.path.with_suffix(".lock").stat()
        path_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_PATH
        return os.path.samestat(os.fstat(descriptor), lock) and not path_only

    def _lifeline(self) -> int | None:
        named = os.environ.get(LIFELINE)
        if not named:
            return None
        found = processes.handle(processes.parse(named))
        if found is None:
            os._exit(0)
        return found

    def _answer(self, listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            link.settimeout(ASK_SECONDS)
            try:
                asked, descriptors = take(link)
            except (warm.Refused, OSError, ValueError) as error:
                log.warning("not understood: %s", error)
                return
            try:
                reason = self._objection(link, asked, descriptors)
                if "status" in asked or reason:
                    warm.say(link, {"refused": reason} if reason else {**condition(), "pid": os.getpid()})
                    return
                self.jobs += 1
                launch(asked, link, *descriptors[1:])
            except OSError as error:
                log.warning("not answered: %s", error)
            finally:
                for each in descriptors:
                    os.close(each)

    def _objection(self, link: socket.socket, asked: dict[str, Any], descriptors: list[int]) -> str | None:
        if warm.peer(link) != os.getuid():
            return "another user asks"
        if "status" not in asked and not self._opened_lock(descriptors[0]):
            return "the asker cannot open what the worker can"
        if warm.code() != self.code:
            return "its code has changed"
        return unfit(condition())


def take(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request and the descriptors that came with it. Raises Refused, OSError, ValueError."""
    begun, descriptors, _, _ = socket.recv_fds(link, 65_536, DESCRIPTORS)
    try:
        asked = warm.parse(link, begun)
        if "status" not in asked and (len(descriptors) < 2 or not {"spec", "ranks", "environment"} <= asked.keys()):
            raise ValueError(f"not a request: {json.dumps(asked)[:200]}")
    except BaseException:
        for each in descriptors:
            os.close(each)
        raise
    return asked, descriptors


def launch(asked: dict[str, Any], link: socket.socket, output: int, rules: int | None = None) -> None:
    """In a fork, which is the job's own launcher from here on; `rules` are what it keeps."""
    from trainer import launch as launching

    def life() -> int:
        close_all_but(link.fileno(), output, *([] if rules is None else [rules]))
        return launching.main(asked, link, output, rules)

    launching.fork(life)


def close_all_but(*kept: int) -> None:
    """Listener, lock and lifeline are the warm trainer's own."""
    for number in sorted(int(each) for each in os.listdir("/proc/self/fd")):
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
