"""Fused norms and activations against the plain ones, on a CPU; what they gain on a GPU is for `make gpu-check`."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from trainer import fused

# Dynamo and inductor warn of what they do themselves.
pytestmark = pytest.mark.filterwarnings("default")

SIZES = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
}
PLAIN = fused.silu_times._torchdynamo_orig_callable
# Norms: two a layer and the last; those of Qwen3 also of queries and keys. Activations: one a layer.
TAKEN = {
    "llama": 2 * 2 + 1 + 2,
    "mistral": 2 * 2 + 1 + 2,
    "qwen2": 2 * 2 + 1 + 2,
    "qwen3": 4 * 2 + 1 + 2,
    "smollm3": 2 * 2 + 1 + 2,
    # Gate and up are one matrix: its norms alone.
    "phi3": 2 * 2 + 1,
    # Norms by 1 + weight, activations of gelu's kind; layers of another kind altogether.
    "gemma2": 0,
    "gpt_neox": 0,
}


def model(kind: str) -> nn.Module:
    torch.manual_seed(0)
    sizes = {name: size for name, size in SIZES.items() if kind != "gpt_neox" or "key_value" not in name}
    made: nn.Module = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.normal_(1, 0.3)
    return made


@pytest.fixture(params=["aot_eager_decomp_partition", pytest.param("inductor", marks=pytest.mark.slow)], autouse=True)
def _compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with torch's compiler but for its kernels, which take half a minute; with those where it is slow."""
    monkeypatch.setattr(fused, "silu_times", anew(request.param))


def anew(backend: Any) -> Any:
    torch._dynamo.reset()
    return torch.compile(PLAIN, backend=backend, dynamic=True, fullgraph=True)


def scored(of: nn.Module, length: int = 23) -> list[Tensor]:
    """The logits [2, T, V], and the gradient of each parameter by a weighing that no two elements share."""
    ids = torch.randint(97, (2, length), generator=torch.Generator().manual_seed(1))
    logits: Tensor = of(input_ids=ids).logits
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    return [logits.detach(), *torch.autograd.grad((logits * weights).sum(), list(of.parameters()))]


@pytest.mark.parametrize("kind", TAKEN)
def test_what_computes_as_llama_is_taken_and_nothing_else(kind: str) -> None:
    made = model(kind)
    plain = scored(made)
    assert fused.fuse(made) == TAKEN[kind]
    gaps = [mine - other for mine, other in zip(scored(made), plain, strict=True)]
    off, size = (float(torch.cat([part.flatten() for part in each]).norm()) for each in (gaps, plain))
    assert off <= 1e-6 * size


def test_norms_have_the_plain_ones_bits() -> None:
    made = model("qwen3")
    plain = scored(made)
    for module in made.modules():
        if isinstance(module, type(made.model.norm)):  # type: ignore[union-attr]
            assert fused.fuse(module) == 1
    for mine, other in zip(scored(made), plain, strict=True):
        assert torch.equal(mine, other)


def test_in_bf16_they_are_no_further_from_the_truth() -> None:
    made = model("llama")
    truth = scored(made)
    plain = scored(made.bfloat16())
    fused.fuse(made)
    off, before = (
        [float((a.float() - b).norm() / b.norm()) for a, b in zip(each, truth, strict=True)]
        for each in (scored(made), plain)
    )
    assert sum(off) <= 1.02 * sum(before)


def test_a_token_has_the_same_bits_in_rows_of_every_length_with_a_graph_and_without() -> None:
    """The exact gates (docs/numerics.md) compare such rows with a limit of 0."""
    torch.manual_seed(3)
    gate, up = torch.randn(2, 700, 192), torch.randn(2, 700, 192)
    whole = fused.silu_times(gate, up)
    for length in (1, 2, 7, 63, 128, 500):
        part = [each[:, :length].contiguous().requires_grad_() for each in (gate, up)]
        assert torch.equal(fused.silu_times(*part), whole[:, :length])


def test_for_the_backward_gate_and_up_are_kept_alone() -> None:
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    gate, up = (torch.randn(3, 50, 192, requires_grad=True) for _ in range(2))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fused.silu_times(gate, up)
    assert {each.data_ptr() for each in kept if each.dim() == 3} == {gate.data_ptr(), up.data_ptr()}


def test_lengths_and_modes_stay_within_torchs_limit_of_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch compiles at most eight of one function; one more raises here."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(fused, "silu_times", anew(counter))
    made = model("llama")
    fused.fuse(made)
    for dtype in (torch.float32, torch.bfloat16):
        made.to(dtype)
        for length in (1, 2, 23, 128, 129):
            scored(made, length)
            with torch.no_grad():
                made(input_ids=torch.ones(1, length, dtype=torch.long))
    assert 1 <= counter.frame_count <= 8
