"""Whether a GPU node can compile a run's attention and activations: found out before any rank waits in a collective.

Triton takes a C compiler, Python's header files and a scratch folder from which it may load what it wrote. Without them
a run would fall back to padded rows, two to three times as slow; and if one rank alone had no luck, the others would
wait for it for an hour.
"""

import torch

from trainer.attention import Attending, flexed
from trainer.failures import Infrastructure, of_the_node
from trainer.fused import silu_times
from trainer.layouts import plant
from trainer.world import World

DEVICES = ("cuda",)
TREES = [(128, 64, 64)]


def require(world: World) -> None:
    """Raises Infrastructure, on all ranks."""
    if world.device.type in DEVICES:
        world.agree(tried(world.device))


def tried(device: torch.device) -> Exception | None:
    """A forward and a backward of 256 tokens; the error, as the node's."""
    try:
        row = Attending(plant(TREES, device))
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        shape, graph = (1, 2, row.length, 64), device.type == "cuda"
        query, key, value = (torch.ones(shape, device=device, dtype=dtype, requires_grad=graph) for _ in range(3))
        found = flexed(row, query, key, value, 0.125)
        if graph:
            torch.autograd.grad(silu_times(found, value).sum(), query)
    # Whatever a compiler raises: of its own, of the linker's, of the loader's.
    except Exception as error:
        if of_the_node(error) is not None:
            return error
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return Infrastructure(
            f"FlexAttention cannot be compiled here: {type(error).__name__}: {said}. The rank's log has the rest.",
            code="not_compiled",
        )
    return None
