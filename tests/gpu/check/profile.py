"""Which share of an optimizer step is matrix products, head, attention, and the rest: by torch.profiler.

On a GPU by the names of the kernels, on a CPU by those of torch's functions. What the head starts is the head's,
whatever it is.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

HEAD = "palate: head"
KINDS = {
    "matrix products": r"gemm|cutlass|nvjet|cublas|xmma|wgmma|matmul|aten::(add|b|sparse_)?mm|aten::addmm|mkl_linear",
    "attention": r"flex|flash|fmha|attention|triton_tem",
    "between GPUs": r"nccl|c10d|allgather|all_gather|reduce_scatter|allreduce",
    "copies": r"memcpy|memset|aten::copy_|aten::fill_|aten::zero_",
}
REST = "norms, activations, optimizer and the rest"


def kind(name: str) -> str:
    return next((each for each, words in KINDS.items() if re.search(words, name, re.IGNORECASE)), REST)


def shares(act: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What `act` returns, and {"seconds": of the device or, without one, of the threads, "shares": by kind}."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    from trainer.head import FusedLogProbs, Head

    cuda = torch.cuda.is_available()
    forward, backward = Head.forward, FusedLogProbs.backward

    def marked(inner: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            with record_function(HEAD):
                return inner(*arguments, **named)

        return run

    Head.forward = marked(forward)  # type: ignore[method-assign]
    FusedLogProbs.backward = staticmethod(marked(backward))  # type: ignore[method-assign]
    try:
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with profile(activities=kinds) as seen:
            found = act()
            if cuda:
                torch.cuda.synchronize()
    finally:
        Head.forward = forward  # type: ignore[method-assign]
        FusedLogProbs.backward = staticmethod(backward)  # type: ignore[method-assign]
    spent: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type != torch.autograd.DeviceType.CPU:
            continue
        head = of_the_head(event)
        if cuda:
            for kernel in event.kernels:
                spent["head" if head else kind(kernel.name)] += kernel.duration
        else:
            spent["head" if head else kind(event.name)] += event.self_cpu_time_total
    whole = sum(spent.values())
    return found, {"seconds": whole / 1e6, "shares": {name: part / max(1, whole) for name, part in spent.items()}}


def of_the_head(event: Any) -> bool:
    while event is not None:
        if event.name == HEAD:
            return True
        event = event.cpu_parent
    return False
