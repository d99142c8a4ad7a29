"""The ranks of a run, and the few things they tell each other outside DeepSpeed."""

import datetime
import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.failures import Infrastructure

T = TypeVar("T")
# Others wait this long while rank 0 exports and verifies; a rank that died ends them sooner, through torchrun.
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
        """Every rank's, in order of rank."""
        things: list[Any] = [thing] * self.size
        if self.size > 1:
            dist.all_gather_object(things, thing, group=self.control)
        return things

    def agree(self, error: Exception | None) -> None:
        """Raises the first rank's error on all ranks, so that none waits for one that gave up."""
        for found in self.gather(error):
            if found is not None:
                raise found

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
    """Where ranks find each other: torchrun's, our launcher's (trainer.launch), or none but this process's own."""
    if size == 1:
        return dist.HashStore()  # type: ignore[attr-defined]
    own = os.environ.get("PALATE_STORE_DESCRIPTOR")
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        size,
        is_master=rank == 0 and not served,
        master_listen_fd=int(own) if own is not None else None,
    )
