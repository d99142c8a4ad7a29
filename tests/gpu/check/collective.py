"""A sum over all ranks through NCCL (gloo on a CPU), in forks of a warm trainer's fork, as a job's ranks are.

`python -m tests.gpu.check.collective RANKS`. Prints the seconds from the first fork to the last rank's sum.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping

from trainer import launch, warm


def main(size: int) -> int:
    warm.preload()
    found = warm.condition()
    if found["cuda_initialized"] or found["threads"] != 1:
        print(f"not fit for a fork: {found}")
        return 1
    began = time.perf_counter()
    child = launch.fork(lambda: launcher(size))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        print(f"{time.perf_counter() - began:.2f}")
    return code


def launcher(size: int) -> int:
    os.setsid()
    warm.close_all_but()
    return launch.attend(size, begin, None)


def begin(number: int, known: Mapping[str, str], store: socket.socket) -> int:
    def life() -> int:
        os.environ.update(known)
        if number == 0:
            store.detach()
        else:
            store.close()
        return add()

    return launch.fork(life)


def add() -> int:
    """0 where the sum over the ranks, and what a gather brings, are right on this rank."""
    import torch
    import torch.distributed as dist

    from trainer import world

    found = world.join()
    mine = torch.full((1 << 20,), found.rank + 1.0, device=found.device)
    dist.all_reduce(mine)
    whole = torch.empty(found.size, device=found.device)
    dist.all_gather_into_tensor(whole, torch.full((1,), float(found.rank), device=found.device))
    total = found.size * (found.size + 1) / 2
    right = bool((mine == total).all()) and whole.tolist() == list(range(found.size))
    if not right:
        print(f"rank {found.rank} of {found.size}: {mine[0].item()} instead of {total}, {whole.tolist()}", flush=True)
    world.leave()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
