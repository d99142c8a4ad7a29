"""The ranks of a run, and the few things they tell each other outside DeepSpeed."""

import datetime
import json
import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.failures import Infrastructure, from_peer, to_peer

T = TypeVar("T")
# Others wait this long while rank 0 exports and verifies; a rank that died ends them sooner, through the launcher.
PATIENCE = datetime.timedelta(hours=12)


@dataclass(frozen=True)
class World:
    """`control` is a gloo group: small things on the CPU, and waiting without NCCL's watchdog."""

    rank: int
    size: int
    device: torch.device
    control: Any

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Over ranks, in float64, on the CPU; the same bits on every rank."""
        total = values.detach().to("cpu", torch.float64)
        if self.size > 1:
            dist.all_reduce(total, group=self.control)
        return total

    def gather(self, thing: T) -> list[T]:
        """Every rank's, in order of rank; of plain values, as JSON has them (tuples come back as lists)."""
        return [json.loads(told) for told in self.gather_bytes(json.dumps(thing).encode())]

    def gather_bytes(self, told: bytes) -> list[bytes]:
        """Every rank's, in order of rank. Never torch's collectives of objects: those unpickle what they are sent."""
        if self.size == 1:
            return [told]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(told)]), group=self.control)
        longest = max(int(size) for size in sizes)
        mine = torch.frombuffer(bytearray(told.ljust(longest + 1, b"\0")), dtype=torch.uint8)
        every = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(every, mine, group=self.control)
        return [found[: int(size)].numpy().tobytes() for found, size in zip(every, sizes, strict=True)]

    def agree(self, error: Exception | None) -> None:
        """Raises the first rank's error on all ranks, so that none waits for one that gave up."""
        for number, told in enumerate(self.gather(None if error is None else to_peer(error))):
            if told is not None:
                raise error if error is not None and number == self.rank else from_peer(told)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier(group=self.control)


def require(device: str | None) -> None:
    """Raises Infrastructure where a GPU was promised and this rank has none that computes; never on the CPU instead."""
    if device != "cuda":
        return
    place, wanted = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < wanted:
        raise Infrastructure(
            f"This run was planned for {wanted} GPUs, and torch {torch.__version__} finds {found} on the node. Compare "
            "its driver (nvidia-smi) with torch's CUDA, and look whether /dev/nvidia-uvm is there.",
            code="gpu_unavailable",
        )
    torch.ones(1, device=f"cuda:{place}").add_(1).item()


def join() -> World:
    """By the launcher's environment; without it, a world of one."""
    for name, alone in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        os.environ.setdefault(name, alone)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend, hour = "nccl" if cuda else "gloo", datetime.timedelta(hours=1)
    dist.init_process_group(backend, timeout=hour, store=store(rank, size), rank=rank, world_size=size)
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    return World(dist.get_rank(), dist.get_world_size(), device, control)


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def store(rank: int, size: int) -> Any:
    """Where ranks find each other: at the launcher's socket (trainer.launch), which rank 0 serves, or nowhere."""
    own = os.environ.get("PALATE_STORE_DESCRIPTOR")
    if size == 1:
        if own is not None:
            os.close(int(own))
        return dist.HashStore()  # type: ignore[attr-defined]
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        size,
        is_master=rank == 0,
        master_listen_fd=int(own) if own is not None else None,
    )
