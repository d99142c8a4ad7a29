"""A norm and an MLP plain and fused (trainer.fused): seconds, memory, and the same bits in every row."""

import time
from collections.abc import Callable

from tests.gpu.check.part import Asked, Seen, Wrong


def measure(asked: Asked) -> Seen:
    import torch
    from torch import Tensor, nn
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

    from trainer import fused

    width, tokens, rounds = (64, 256, 2) if asked.tiny else (4096, 8192, 20)
    device, dtype = torch.device(asked.device), torch.bfloat16
    config = LlamaConfig(hidden_size=width, intermediate_size=7 * width // 2)
    torch.manual_seed(0)
    part = nn.Sequential(LlamaRMSNorm(width), LlamaMLP(config)).to(device, dtype)
    for parameter in part.parameters():
        # As with an adapter: the products that train weights would hide what is compared.
        parameter.requires_grad_(False)
    hidden = torch.randn(tokens, width, device=device, dtype=dtype)

    def wait() -> None:
        if asked.cuda:
            torch.cuda.synchronize()

    def once() -> Tensor:
        given = hidden.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(part(given).float().square().sum(), given)
        return gradient

    def timed(act: Callable[[], Tensor]) -> tuple[float, float]:
        """Milliseconds, and the most MiB beside what stood there before."""
        act()
        wait()
        before = torch.cuda.memory_allocated() if asked.cuda else 0
        if asked.cuda:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        for _ in range(rounds):
            act()
        wait()
        spent = (time.perf_counter() - began) / rounds
        return 1e3 * spent, (torch.cuda.max_memory_allocated() - before) / 2**20 if asked.cuda else 0.0

    with torch.no_grad():
        expected = part(hidden)
    plain, held = timed(once)
    if fused.fuse(part) != 2:
        raise Wrong("the norm or the activation was not taken for Llama's")
    with torch.no_grad():
        found = part(hidden)
        gap = float((found.float() - expected.float()).norm() / expected.float().norm())
        if gap > 1e-2:
            raise Wrong(f"the fused layer is off by {gap:.1e} of the plain one")
        # The elementwise parts alone: products may be cut otherwise in rows of other lengths.
        gate, up = torch.randn(2, tokens, width, device=device, dtype=dtype)
        wholes = part[0](hidden), fused.silu_times(gate, up)
        for length in (1, 3, 128, tokens // 2 + 1):
            parts = part[0](hidden[:length].clone()), fused.silu_times(gate[:length].clone(), up[:length].clone())
            if not all(torch.equal(whole[:length], each) for whole, each in zip(wholes, parts, strict=True)):
                raise Wrong(f"a token has other bits in a row of {length} than in one of {tokens}")
    quick, kept = timed(once)
    seen = Seen(f"fused {plain / quick:.2f} x as fast as plain, off by {gap:.1e}")
    seen.add(f"plain, {tokens} tokens of {width}", f"{plain:.2f} ms, {held:.0f} MiB")
    seen.add("fused", f"{quick:.2f} ms, {kept:.0f} MiB")
    return seen
