"""DeepSpeed's shards: copied to the host instead of written, and read without trusting the pickles that they are."""

import contextlib
import ctypes
import mmap
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.contract.manifest import ManifestMismatch
from trainer.background import Job

# What ZeRO-3 writes besides tensors and plain values.
SAFE = (
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
)
# Stronger than the argument weights_only=False.
FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
Shard = tuple[Path, dict[str, Any]]
# Where a tensor may begin in a piece of host memory.
ALIGNED = 64


class HostMemory:
    """One piece for each shard of a rank, registered with CUDA, as large as what it holds, and used again by the next
    resume point: torch's own pinned memory is rounded up to a power of two a tensor, and never given back.

    The copies live until `begin` is called again; `holder` is the job that writes them (trainer.checkpoint).
    """

    def __init__(self) -> None:
        self.holder: Job | None = None
        self._pieces: list[mmap.mmap] = []
        self._used = 0

    @property
    def bytes(self) -> int:
        return sum(map(len, self._pieces))

    def begin(self) -> None:
        self._used = 0

    def copy(self, state: dict[str, Any]) -> dict[str, Any]:
        """`state` with its tensors here; on CUDA complete after a synchronise."""
        piece, start = self._piece(held(state, aligned)), 0

        def take(tensor: Tensor) -> Tensor:
            nonlocal start
            if not tensor.numel():
                return tensor.detach().cpu().clone()
            flat = torch.frombuffer(piece, dtype=tensor.dtype, count=tensor.numel(), offset=start)
            start += aligned(tensor.nbytes)
            return flat.view(tensor.shape).copy_(tensor.detach(), non_blocking=True)

        copied: dict[str, Any] = mapped(state, take)
        return copied

    def _piece(self, size: int) -> mmap.mmap:
        number, self._used = self._used, self._used + 1
        if number < len(self._pieces) and len(self._pieces[number]) >= size:
            return self._pieces[number]
        piece = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for old in self._pieces[number : number + 1]:
            register(old, on=False)
        self._pieces[number : number + 1] = [piece]
        register(piece, on=True)
        return piece


def register(piece: mmap.mmap, *, on: bool) -> None:
    """Pins it, so that a GPU writes into it by itself; nothing without CUDA."""
    if not torch.cuda.is_available():
        return
    address = ctypes.addressof(ctypes.c_char.from_buffer(piece))
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    done = runtime.cudaHostRegister(address, len(piece), 0) if on else runtime.cudaHostUnregister(address)
    torch.cuda.check_error(int(done))


def aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


class Shards:
    """A checkpoint engine (deepspeed.runtime.checkpoint_engine) whose `save` only copies: `taken` is written later.

    memory: where to; None: wherever there is room.
    """

    name = "Shards"

    def __init__(self, memory: HostMemory | None = None) -> None:
        self.taken: list[Shard] = []
        self._copy = host_copy if memory is None else memory.copy

    def create(self, info: Any) -> None:
        self.taken = []

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        Path(path).mkdir(parents=True, exist_ok=exist_ok)

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        self.taken.append((Path(path), self._copy(state_dict)))

    def load(self, path: str, map_location: Any = None) -> Any:
        return read(Path(path), map_location)

    def commit(self, info: Any) -> bool:
        return True

    def is_data_parallel_writer(self, dp_rank: int) -> bool:
        return dp_rank == 0

    def is_decoupled(self) -> bool:
        return False

    def preserves_storage_sharing(self) -> bool:
        return False


def take(deepspeed: Any, folder: Path, tag: str, memory: HostMemory | None, *, exclude_frozen: bool) -> list[Shard]:
    """This rank's shards as they are now, on the host; all ranks call. Their folder is made, nothing is written."""
    if memory is not None:
        memory.begin()
    deepspeed.checkpoint_engine = shards = Shards(memory)
    deepspeed.save_checkpoint(str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=exclude_frozen)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    # DeepSpeed leaves a script that would put the shards together.
    for script in folder.glob("*.py"):
        script.unlink(missing_ok=True)
    return shards.taken


def host_copy(thing: Any) -> Any:
    """The same with its tensors copied, each with a storage of its own size."""
    return mapped(thing, lambda tensor: tensor.detach().to("cpu", copy=True))


def mapped(thing: Any, copy: Callable[[Tensor], Tensor]) -> Any:
    """The same with another tensor for each."""
    if isinstance(thing, Tensor):
        return copy(thing)
    if isinstance(thing, dict):
        return type(thing)((key, mapped(value, copy)) for key, value in thing.items())
    # Exactly these: torch.Size is a tuple too, and stays what it is.
    if type(thing) in (list, tuple):
        return type(thing)(mapped(value, copy) for value in thing)
    return thing


def held(thing: Any, size: Callable[[int], int] = int) -> int:
    """Bytes of the tensors in it, each as `size` counts it."""
    if isinstance(thing, Tensor):
        return size(thing.nbytes)
    if isinstance(thing, dict):
        return sum(held(value, size) for value in thing.values())
    if isinstance(thing, list | tuple):
        return sum(held(value, size) for value in thing)
    return 0


def write(shards: Sequence[Shard]) -> list[Path]:
    for path, state in shards:
        torch.save(state, path)
    return [path for path, _ in shards]


def scan(path: Path) -> None:
    """Raises ManifestMismatch for a file that would call more than a shard of ours does; unpickles nothing."""
    try:
        foreign = sorted(set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - set(SAFE))
    except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ManifestMismatch(f"{path.name} of the resume point is no shard: {error}") from error
    if foreign:
        raise ManifestMismatch(f"{path.name} of the resume point names {foreign[0]}, which no shard holds.")


@contextlib.contextmanager
def distrust() -> Iterator[None]:
    """While inside, every torch.load takes tensors, plain values and SAFE alone, also where DeepSpeed asks for all."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    os.environ[FORCED] = "1"
    try:
        with torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
            yield
    finally:
        del os.environ[FORCED]


def read(path: Path, map_location: Any = None) -> Any:
    scan(path)
    return torch.load(path, map_location=map_location, weights_only=True)
