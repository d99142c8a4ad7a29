"""FlexAttention with its gradients, the layouts, and the fused head: on the GPU, against plain arithmetic."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor, nn

from tests.gpu.device import DEVICE, needs_device
from trainer.attention import Attending, branched, explicit, flexed
from trainer.data import Example
from trainer.head import Head, Transform
from trainer.layouts import Layout, collate, plant
from trainer.render import Answer
from trainer.scorer import Scorer

pytestmark = [pytest.mark.gpu, needs_device, pytest.mark.filterwarnings("default")]

# Documents that end within, at and behind FlexAttention's blocks of 128.
TREES = [(100, 28, 60), (256,), (5, 1, 1, 300), (130, 126)]
DTYPES = [torch.float32, torch.bfloat16]
# Of the largest value: products in TF32 are not asked for, sums are ordered otherwise.
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


@pytest.fixture(autouse=True)
def compiled_anew() -> Iterator[None]:
    """Each test compiles what it needs; past dynamo's limit it would test Flex unfused, and nobody would know."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield


def off(mine: Tensor, expected: Tensor) -> float:
    """The largest error as a share of the largest value."""
    mine, expected = mine.detach().float(), expected.detach().float()
    return float((mine - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [4, 6])
@pytest.mark.parametrize(("window", "softcap", "sinks"), [(None, None, False), (50, None, False), (None, 5.0, True)])
def test_attention_and_its_gradients(
    dtype: torch.dtype, heads: int, window: int | None, softcap: float | None, sinks: bool
) -> None:
    torch.manual_seed(0)
    row = Attending(plant(TREES, DEVICE))
    parts = [torch.randn(1, n, row.length, 64, device=DEVICE, requires_grad=True) for n in (heads, 2, 2)]
    given = [part.detach().to(dtype).requires_grad_() for part in parts]
    drain = torch.linspace(-1, 1, heads, device=DEVICE) if sinks else None
    expected = explicit(*parts, 0.125, row.dense(window), softcap, drain).transpose(1, 2)
    sums = flexed if DEVICE.type == "cuda" else branched
    found = sums(row, *given, 0.125, window, softcap, drain)
    factors = torch.randn_like(expected)
    assert off(found, expected) < CLOSE[dtype]
    mine = torch.autograd.grad((found.float() * factors).sum(), given)
    for gradient, other in zip(mine, torch.autograd.grad((expected * factors).sum(), parts), strict=True):
        assert off(gradient, other) < CLOSE[dtype]


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=512, num_key_value_heads=2, **sizes))


def examples() -> list[Example]:
    draw = torch.Generator().manual_seed(3)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(512, (count,), generator=draw).tolist())

    found = []
    for number, (prefix, lengths) in enumerate([(70, (40, 90)), (128, (30, 2)), (1, (60, 50, 80)), (300, (1, 129))]):
        prompt = ids(prefix)
        answers = tuple(Answer(prompt + ids(n), ((prefix, prefix + n),)) for n in lengths)
        found.append(Example(str(number), number, prefix, answers, number=number))
    return found


def scored(model: Any, layout: Layout) -> tuple[Tensor, Tensor]:
    """Log-probabilities a token of each answer, and the gradient of their weighted sum at the embeddings' table."""
    given = examples()
    counts = torch.tensor([len(a.ids) - e.prefix for e in given for a in e.answers], device=DEVICE)
    model.zero_grad()
    sums = Scorer(model)(collate(given, layout, DEVICE))[:, 0]
    (sums * torch.linspace(-1, 1, len(sums), device=DEVICE)).sum().backward()
    return (sums / counts).detach(), model.get_input_embeddings().weight.grad.clone()


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_layouts_agree(dtype: torch.dtype, limit: float) -> None:
    """Within what the probe allows a model (trainer.probe)."""
    expected, gradient = scored(llama().to(DEVICE), "padded")
    for layout in ("shared", "packed", "padded"):
        found, mine = scored(llama().to(DEVICE, dtype), layout)  # type: ignore[arg-type]
        assert float((found - expected).abs().max()) < limit, layout
        assert off(mine, gradient) < CLOSE[dtype], layout


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fused_head_and_its_gradients(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    linear = nn.Linear(256, 32_768, bias=False, device=DEVICE, dtype=dtype)
    hidden = torch.randn(700, 256, device=DEVICE, dtype=dtype, requires_grad=True)
    targets = torch.randint(32_768, (700,), device=DEVICE)
    factors = torch.randn(700, device=DEVICE)
    exact = [hidden.detach().float().requires_grad_(), linear.weight.detach().float().requires_grad_()]
    expected = -F.cross_entropy(F.linear(*exact), targets, reduction="none")
    found = Head(linear, Transform())(hidden, targets)
    assert off(found, expected) < CLOSE[dtype] / 10
    mine = torch.autograd.grad((found * factors).sum(), [hidden, linear.weight])
    for gradient, other in zip(mine, torch.autograd.grad((expected * factors).sum(), exact), strict=True):
        assert off(gradient, other) < CLOSE[dtype]
