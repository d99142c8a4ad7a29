"""`python -m tests.gpu.fakes.parent DEED --socket PATH`: the warm trainer on a node of fakes, after somebody's deed.

What torch.cuda is asked while it imports is noted down beside what the fakes are. Its ranks train nothing: they print
what NVML and the driver answer a fork. With a file `forced` among the devices, an unfit parent forks too.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from tests.gpu.fakes import DEVICES

FAKES = Path(os.environ[DEVICES])
# Asks no device.
HARMLESS = ("is_initialized",)


def listen() -> None:
    """Every question to torch.cuda is noted down."""
    from torch import cuda

    def spied(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*given: Any, **named: Any) -> Any:
            with (FAKES / "asked").open("a") as notes:
                notes.write(f"{os.getpid()} torch.cuda.{name}\n")
            return real(*given, **named)

        return spy

    for name, found in list(vars(cuda).items()):
        asks = name == "_lazy_init" or not (name.startswith("_") or name in HARMLESS)
        if asks and isinstance(found, FunctionType) and found.__module__.startswith("torch.cuda"):
            setattr(cuda, name, spied(name, found))


@contextlib.contextmanager
def built_for_cuda() -> Iterator[None]:
    """So that a CPU wheel of torch goes to NVML too when it is asked to count."""
    from torch import cuda

    before = cuda._is_compiled
    cuda._is_compiled = lambda: True
    try:
        yield
    finally:
        cuda._is_compiled = before


def deepspeed_finds_out() -> None:
    """As it does where nobody tells it."""
    with built_for_cuda():
        from deepspeed import accelerator

        assert accelerator.get_accelerator().device_name() == "cuda"


def driver_is_loaded() -> None:
    ctypes.CDLL("libcuda.so.1")


def driver_is_initialized() -> None:
    """Round torch."""
    assert ctypes.CDLL("libcuda.so.1").cuInit(0) == 0


def nothing() -> None:
    pass


BEFORE = {"deepspeed finds out": deepspeed_finds_out}
AFTER = {"the driver is loaded": driver_is_loaded, "the driver is initialized": driver_is_initialized}


def live(_: Path) -> int:
    """In the place of trainer.rank.live."""
    from deepspeed.accelerator import get_accelerator
    from torch import cuda

    counted = cuda._device_count_nvml()
    initialized = ctypes.CDLL("libcuda.so.1").cuInit(0)
    told = {"nvml": counted, "cuInit": initialized, "deepspeed": get_accelerator().device_name()}
    print(json.dumps(told), flush=True)
    return 0


def main(deed: str, arguments: list[str]) -> int:
    # preload says so, but torch is imported before it here.
    os.environ.update(PYTORCH_NVML_BASED_CUDA_CHECK="1", OPENBLAS_NUM_THREADS="1")
    listen()
    from torch.backends import cuda

    from trainer import engine, rank, warm

    preload, quiet_deepspeed, unfit = warm.preload, engine.quiet_deepspeed, warm.unfit

    def imported() -> Any:
        with built_for_cuda():
            return quiet_deepspeed()

    def preloaded() -> None:
        BEFORE.get(deed, nothing)()
        preload()
        AFTER.get(deed, nothing)()

    cuda.is_built = lambda: True  # type: ignore[assignment]
    warm.DEVICES, rank.live = FAKES, live
    warm.preload, engine.quiet_deepspeed = preloaded, imported
    warm.unfit = lambda found: None if (FAKES / "forced").exists() else unfit(found)
    return warm.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
