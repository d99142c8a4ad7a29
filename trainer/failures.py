"""How a run can fail, and the one table from what went wrong to the exit code and the words of the `failed` event.

core.contract.errors.PalateError
├── BadInput                    the spec (64)
│   ├── BadData                 the records (65)
│   │   └── BadRecord           … one of them: `line`
│   └── BadModel                the model folder (66)
├── Diverged                    loss or gradient not finite (71)
├── GateFailed                  our numbers contradict each other: refused, never tried again (73)
└── Infrastructure              a peer, a disk, a network (75)
"""

import errno
import sys
from dataclasses import asdict, dataclass
from typing import Any

from core.contract.errors import BadData, BadInput, BadModel, PalateError
from core.contract.exits import Exit
from core.contract.manifest import ManifestMismatch
from core.disk import is_full
from trainer import gpu_words
from trainer.stop import StopRequested


class BadRecord(BadData):
    def __init__(self, message: str, *, code: str | None = None, line: int | None = None) -> None:
        super().__init__(message, code=code)
        self.line = line


class Diverged(PalateError):
    code = "diverged"

    def __init__(self, message: str, *, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


class GateFailed(PalateError):
    code = "gate_failed"


class Infrastructure(PalateError):
    code = "infrastructure"


@dataclass(frozen=True)
class Verdict:
    exit: Exit
    code: str
    message: str
    param: str | None = None
    line: int | None = None
    step: int | None = None
    device: str | None = None


class OfAPeer(Exception):
    """What another rank failed with, as that rank judged it."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


EXITS: list[tuple[type[PalateError], Exit]] = [
    (BadModel, Exit.BAD_MODEL),
    (BadData, Exit.BAD_DATA),
    (BadInput, Exit.BAD_SPEC),
    (Diverged, Exit.DIVERGED),
    (GateFailed, Exit.REFUSED),
    (ManifestMismatch, Exit.INFRASTRUCTURE),
    (Infrastructure, Exit.INFRASTRUCTURE),
]
# How safetensors says it, in Rust's words, and torch.save, which swallows the system's.
NO_ROOM = ("No space left on device", "File too large (os error", "Disk quota exceeded")
TORCH_WRITES = ("PytorchStreamWriter failed", "unexpected pos ")
BROKEN_DISK = {errno.EIO, errno.ESTALE, errno.EROFS}


def of_the_node(error: BaseException) -> BaseException | None:
    """What in the chain behind it was memory, a disk or a peer: then what a library was reading is not at fault."""
    each: BaseException | None = error
    while each is not None:
        if judge(each).exit in (Exit.INFRASTRUCTURE, Exit.OUT_OF_GPU_MEMORY):
            return each
        each = each.__cause__ or each.__context__
    return None


def judge(error: BaseException) -> Verdict:
    """One sentence for a person, a code for a program; an unknown error is our bug, never the infrastructure's."""
    if isinstance(error, OfAPeer):
        return error.verdict
    if isinstance(error, PalateError):
        code = next((exit for kind, exit in EXITS if isinstance(error, kind)), Exit.BUG)
        line, step = getattr(error, "line", None), getattr(error, "step", None)
        return Verdict(code, error.code, error.message, error.param, line, step)
    if (said := gpu_words.known(str(error))) is not None:
        return of_the_gpu(*said)
    if is_full(error) or any(words in str(error) for words in NO_ROOM):
        return Verdict(Exit.INFRASTRUCTURE, "no_space", "The disk of the node is full.")
    if isinstance(error, OSError) and error.errno in BROKEN_DISK:
        return Verdict(Exit.INFRASTRUCTURE, "disk_error", "The disk of the node cannot be read or written.")
    if isinstance(error, RuntimeError) and any(words in str(error) for words in TORCH_WRITES):
        return Verdict(Exit.INFRASTRUCTURE, "no_space", "The disk of the node is full, or cannot be written.")
    if isinstance(error, MemoryError):
        return Verdict(Exit.INFRASTRUCTURE, "no_memory", "The node has no memory left.")
    kind = type(error).__name__
    if kind in {"OutOfMemoryError", "AcceleratorOutOfMemoryError"}:
        return out_of_gpu_memory()
    if kind in {"DistBackendError", "DistNetworkError", "DistStoreError"} or lost_peer(error):
        return Verdict(Exit.INFRASTRUCTURE, "lost_peer", "A rank lost the connection to another one.")
    return Verdict(Exit.BUG, "internal_error", f"The trainer met an unexpected {kind}; its log holds the details.")


def to_peer(error: Exception) -> dict[str, Any]:
    """What is told to other ranks, in plain values: the word of a stop, or the verdict."""
    return {"stop": error.word} if isinstance(error, StopRequested) else asdict(judge(error))


def from_peer(told: dict[str, Any]) -> Exception:
    """What those raise."""
    if "stop" in told:
        return StopRequested(str(told["stop"]))
    return OfAPeer(Verdict(**{**told, "exit": Exit(told["exit"])}))


def of_the_gpu(said: gpu_words.Words, found: str) -> Verdict:
    if said.exit == Exit.OUT_OF_GPU_MEMORY:
        return out_of_gpu_memory()
    device = gpu_words.mine()
    message = said.message.format(gpu=f"GPU {device}" if device else "A GPU", found=found)
    return Verdict(said.exit, said.code, message, device=device if said.code == "gpu_error" else None)


def out_of_gpu_memory() -> Verdict:
    message = f"The GPU's memory is too small for this run{peak()}: use a smaller max_length, LoRA or more GPUs."
    return Verdict(Exit.OUT_OF_GPU_MEMORY, gpu_words.OUT_OF_MEMORY, message)


def peak() -> str:
    """What the run really took of this rank's GPU, where there is one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    most, whole = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties().total_memory
    return f" (measured peak {most / 2**30:.1f} of {whole / 2**30:.1f} GiB)"


def lost_peer(error: BaseException) -> bool:
    """Gloo reports a peer's death as a RuntimeError with the place in its own source."""
    return isinstance(error, RuntimeError) and "gloo/" in str(error) and "onnection" in str(error)
