"""DeepSpeed's shards: copied to the host instead of written, and read without trusting the pickles that they are."""

import contextlib
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.contract.manifest import ManifestMismatch

# What ZeRO-3 writes besides tensors and plain values.
SAFE = (
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
)
# Stronger than the argument weights_only=False.
FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
Shard = tuple[Path, dict[str, Any]]


class Shards:
    """A checkpoint engine (deepspeed.runtime.checkpoint_engine) whose `save` only copies: `taken` is written later."""

    name = "Shards"

    def __init__(self) -> None:
        self.taken: list[Shard] = []

    def create(self, info: Any) -> None:
        self.taken = []

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        Path(path).mkdir(parents=True, exist_ok=exist_ok)

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        self.taken.append((Path(path), host_copy(state_dict)))

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


def take(deepspeed: Any, folder: Path, tag: str, *, exclude_frozen: bool) -> list[Shard]:
    """This rank's shards as they are now, on the host; all ranks call. Their folder is made, nothing is written."""
    deepspeed.checkpoint_engine = shards = Shards()
    deepspeed.save_checkpoint(str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=exclude_frozen)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    # DeepSpeed leaves a script that would put the shards together.
    for script in folder.glob("*.py"):
        script.unlink(missing_ok=True)
    return shards.taken


def host_copy(thing: Any) -> Any:
    """The same with its tensors copied, each with a storage of its own size; on CUDA complete after a synchronise."""
    if isinstance(thing, Tensor):
        if thing.device.type != "cuda":
            return thing.detach().clone()
        there = torch.empty(thing.shape, dtype=thing.dtype, pin_memory=True)
        return there.copy_(thing.detach(), non_blocking=True)
    if isinstance(thing, dict):
        return type(thing)((key, host_copy(value)) for key, value in thing.items())
    # Exactly these: torch.Size is a tuple too, and stays what it is.
    if type(thing) in (list, tuple):
        return type(thing)(host_copy(value) for value in thing)
    return thing


def held(thing: Any) -> int:
    """Bytes of the tensors in it."""
    if isinstance(thing, Tensor):
        return thing.nbytes
    if isinstance(thing, dict):
        return sum(map(held, thing.values()))
    if isinstance(thing, list | tuple):
        return sum(map(held, thing))
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
