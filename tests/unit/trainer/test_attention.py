"""One pure mask decides what is seen: branch by branch (CPU), FlexAttention and plain arithmetic agree on it."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from trainer.attention import Attending, attend, branched, by_torch, explicit, flexed, inside, visible
from trainer.layouts import plant

CPU = torch.device("cpu")
TREES = [(3, 2, 4), (5,), (1, 1, 1, 6), (9, 0, 3), (2, 7)]
HEADS, GROUPS, WIDTH = 4, 2, 16


def projected() -> tuple[Attending, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    row = Attending(plant(TREES, CPU))
    q, k, v = (torch.randn(1, heads, row.length, WIDTH, requires_grad=True) for heads in (HEADS, GROUPS, GROUPS))
    return row, q, k, v


@pytest.mark.parametrize("window", [None, 3, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sinks", [None, torch.tensor([0.5, -1.0, 2.0, 0.0])])
def test_branched_is_the_dense_mask(window: int | None, softcap: float | None, sinks: Tensor | None) -> None:
    row, q, k, v = projected()
    expected = explicit(q, k, v, 0.3, row.dense(window), softcap, sinks).transpose(1, 2)
    found = branched(row, q, k, v, 0.3, window, softcap, sinks)
    factors = torch.randn_like(expected)
    assert torch.allclose(found, expected, atol=1e-5)
    for mine, other in zip(
        torch.autograd.grad((found * factors).sum(), (q, k, v)),
        torch.autograd.grad((expected * factors).sum(), (q, k, v)),
        strict=True,
    ):
        assert torch.allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize("window", [None, 3, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_gives_the_bits_of_scaled_dot_product_attention(window: int | None, dtype: torch.dtype) -> None:
    """Forward and backward, for projections as a model makes them: [1, T, heads, d] turned round."""
    row, *parts = projected()
    leaves = [p.detach().transpose(1, 2).contiguous().to(dtype).requires_grad_() for p in parts]
    q, k, v = (leaf.transpose(1, 2) for leaf in leaves)
    found, expected = (way(row, q, k, v, 0.3, window) for way in (branched, by_torch))
    assert type(found.grad_fn).__name__ == "BranchedBackward"
    assert torch.equal(found, expected)
    factors = torch.randn_like(expected)
    for mine, other in zip(
        torch.autograd.grad(found, leaves, factors), torch.autograd.grad(expected, leaves, factors), strict=True
    ):
        assert torch.equal(mine, other)


def test_another_width_of_values_goes_another_way() -> None:
    row, q, k, v = projected()
    wide = torch.cat((v, v), 3)
    found = branched(row, q, k, wide, 0.3)
    assert torch.allclose(found, explicit(q, k, wide, 0.3, row.dense(None), None, None).transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("sinks", [None, torch.tensor([0.5, -1.0, 2.0, 0.0])])
@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile:UserWarning")
def test_the_block_mask_is_the_dense_mask(window: int | None, sinks: Tensor | None) -> None:
    """Without gradients, which FlexAttention lacks on a CPU."""
    row, *parts = projected()
    q, k, v = (part.detach() for part in parts)
    with torch.no_grad():
        expected = explicit(q, k, v, 0.3, row.dense(window), 2.0, sinks).transpose(1, 2)
        assert torch.allclose(flexed(row, q, k, v, 0.3, window, 2.0, sinks), expected, atol=1e-5)


@pytest.mark.parametrize("groups", [3, 5, 7])
@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile:UserWarning")
def test_any_number_of_heads_shares_keys(groups: int) -> None:
    """As Qwen2.5-7B's 28 over 4: nothing is repeated for it. The compiled kernel's own word needs a GPU."""
    torch.manual_seed(0)
    row = Attending(plant(TREES, CPU))
    q, k, v = (torch.randn(1, heads, row.length, WIDTH) for heads in (2 * groups, 2, 2))
    with torch.no_grad():
        expected = explicit(q, k, v, 0.3, row.dense(None), None, None).transpose(1, 2)
        assert torch.allclose(flexed(row, q, k, v, 0.3, None, None, None), expected, atol=1e-5)


def test_the_mask_writes_nothing_in_place() -> None:
    """FlexAttention's compiler, which only a GPU has need of, refuses a mask that does."""
    traced = make_fx(visible(plant(TREES, CPU), 3))(torch.tensor([1]), torch.tensor([0]))
    called = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert called
    assert not [str(each) for each in called if each._schema.is_mutable]


def test_what_is_seen() -> None:
    """A trunk of two and branches of one and two, then another document."""
    sees = visible(plant([(2, 1, 2), (1,)], CPU), None)
    index = torch.arange(6)
    table = sees(index[:, None], index[None, :]).int().tolist()
    assert table == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_a_window_counts_positions_not_tokens_of_the_row() -> None:
    sees = visible(plant([(2, 3, 2)], CPU), 2)
    last_of_trunk, first_of_second_branch = torch.tensor(1), torch.tensor(5)
    assert bool(sees(first_of_second_branch, last_of_trunk))
    assert not bool(sees(torch.tensor(6), last_of_trunk))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"position_bias": torch.zeros(1)}, "position_bias"),
        ({"attention_mask": torch.zeros(1)}, "attention_mask"),
        ({"dropout": 0.1}, "dropout"),
        ({"is_causal": False}, "is_causal"),
    ],
)
def test_what_it_does_not_know_it_refuses(more: dict[str, Any], message: str) -> None:
    row, q, k, v = projected()
    with inside(row), pytest.raises(RuntimeError, match=message):
        attend(torch.nn.Identity(), q, k, v, **{"attention_mask": None, **more})


def test_a_cache_is_refused() -> None:
    row, q, k, v = projected()
    with inside(row), pytest.raises(RuntimeError, match="queries"):
        attend(torch.nn.Identity(), q[:, :, :1], k, v, None)
