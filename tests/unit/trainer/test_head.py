"""The fused head is log softmax of the logits, with its gradients, whatever the tiles and whatever is kept of them."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer import head
from trainer.head import Head, Transform, transform_of

ROWS, VOCABULARY, WIDTH = 11, 13, 6


def plain(hidden: Tensor, linear: nn.Linear, targets: Tensor, transform: Transform) -> Tensor:
    logits = linear(hidden).float() * transform.scale
    if transform.cap:
        logits = transform.cap * torch.tanh(logits / transform.cap)
    return -F.cross_entropy(logits, targets, reduction="none")


@pytest.mark.parametrize("transform", [Transform(), Transform(0.25), Transform(1.0, 3.0), Transform(2.0, 1.5)])
@pytest.mark.parametrize(("tile", "kept"), [(1 << 20, 1 << 20), (4 * VOCABULARY * 4, 0), (4 * VOCABULARY * 4, 500)])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_plain_torch(
    transform: Transform, tile: int, kept: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one tile; in tiles of four rows, of which none or some are kept for the backward."""
    monkeypatch.setitem(head.TILE_BYTES, "cpu", tile)
    monkeypatch.setitem(head.KEPT_BYTES, "cpu", kept)
    torch.manual_seed(1)
    linear = nn.Linear(WIDTH, VOCABULARY, bias=bias)
    hidden = torch.randn(ROWS, WIDTH, requires_grad=True)
    targets = torch.randint(VOCABULARY, (ROWS,))
    factors = torch.randn(ROWS)
    wanted = [hidden, *linear.parameters()]
    expected = plain(hidden, linear, targets, transform)
    gradients = torch.autograd.grad((expected * factors).sum(), wanted)
    fused = Head(linear, transform)
    found = fused(hidden, targets)
    assert torch.allclose(found, expected, atol=1e-6)
    for mine, gradient in zip(torch.autograd.grad((found * factors).sum(), wanted), gradients, strict=True):
        assert torch.allclose(mine, gradient, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(fused(hidden, targets), found), "with and without a graph: the same bits"
    assert torch.equal(fused(hidden), linear(hidden))


def test_a_frozen_head_hands_the_gradient_on() -> None:
    linear = nn.Linear(WIDTH, VOCABULARY, bias=False).requires_grad_(False)
    hidden = torch.randn(ROWS, WIDTH, requires_grad=True)
    targets, factors = torch.randint(VOCABULARY, (ROWS,)), torch.randn(ROWS)
    (expected,) = torch.autograd.grad((plain(hidden, linear, targets, Transform()) * factors).sum(), hidden)
    (found,) = torch.autograd.grad((Head(linear, Transform())(hidden, targets) * factors).sum(), hidden)
    assert torch.allclose(found, expected, atol=1e-6)


def test_bf16_is_not_rounded_to_bf16_on_the_way() -> None:
    """Logits near 30 are 0.125 apart in bf16; what comes out is right to 1e-5 for the weights as they are."""
    torch.manual_seed(2)
    linear = nn.Linear(WIDTH, VOCABULARY, bias=False).bfloat16()
    hidden = (30 * torch.randn(ROWS, WIDTH)).bfloat16()
    targets = torch.randint(VOCABULARY, (ROWS,))
    expected = plain(hidden.double(), linear.double(), targets, Transform())
    found = Head(linear.bfloat16(), Transform())(hidden, targets)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("tile", [1 << 10, 1 << 16, 1 << 30])
def test_the_weights_gradient_in_slices_is_that_in_one(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bf16, where products are added in fp32; tiles from a row to all of them."""
    torch.manual_seed(4)
    linear = nn.Linear(WIDTH, 1_000, bias=False).bfloat16()
    hidden, targets = torch.randn(ROWS, WIDTH).bfloat16().requires_grad_(), torch.randint(1_000, (ROWS,))
    exact = linear.weight.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(
        -F.cross_entropy(hidden.detach().double() @ exact.t(), targets, reduction="sum"), exact
    )
    monkeypatch.setitem(head.TILE_BYTES, "cpu", tile)
    found = {}
    for rows in (1, 7, 400, 1_000, 5_000):
        monkeypatch.setattr(head, "SLICE", rows)
        (found[rows],) = torch.autograd.grad(Head(linear, Transform())(hidden, targets).sum(), linear.weight)
        assert float((found[rows].double() - expected).norm() / expected.norm()) < 5e-3
    assert torch.allclose(found[7], found[5_000], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("tile", [4_000, 4_000 * 3, 4_000 * 1_000])
def test_the_weight_is_read_once_a_tile(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, backward to the hidden states, backward to the weight: what a GPU's memory has to deliver."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counted(TorchDispatchMode):
        reads = 0

        def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
            products = (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default, torch.ops.aten.addmm.default)
            self.reads += function in products
            return function(*given, **(named or {}))

    monkeypatch.setitem(head.TILE_BYTES, "cpu", tile)
    linear = nn.Linear(WIDTH, 1_000, bias=False)
    hidden, targets = torch.randn(ROWS, WIDTH, requires_grad=True), torch.randint(1_000, (ROWS,))
    with Counted() as counted:
        Head(linear, Transform())(hidden, targets).sum().backward()
    assert counted.reads == 3 * -(-ROWS // (tile // 4_000))


def test_an_improbable_token_is_no_infinity() -> None:
    linear = nn.Linear(1, 3, bias=False)
    linear.weight.data = torch.tensor([[500.0], [0.0], [-500.0]])
    hidden = torch.ones(1, 1, requires_grad=True)
    found = Head(linear, Transform())(hidden, torch.tensor([2]))
    found.sum().backward()
    assert float(found.detach()) == -1000.0
    assert float(hidden.grad) == -1000.0  # type: ignore[arg-type]


def test_the_families_names_for_the_transform() -> None:
    class Config:
        logits_scaling = 8.0
        lm_head_multiplier = 2.0
        final_logit_softcapping = 30.0

    assert transform_of(Config()) == Transform(0.25, 30.0)
    assert transform_of(object()) == Transform()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 170])
def test_it_is_right_over_a_real_vocabulary(rows: int) -> None:
    """Against float64: no bias that would grow with an answer, and few rows are as right as many."""
    hidden, linear, targets, expected, wanted = of_a_real_size(max(rows, 60))
    frozen = Head(linear.requires_grad_(False), Transform())
    found = by(rows, frozen, hidden, targets)
    assert abs(float((found.detach().double() - expected).mean())) < 1e-6
    assert relative(torch.autograd.grad(found.sum(), hidden)[0], wanted) < 2e-6
    with torch.no_grad():
        assert torch.equal(by(rows, frozen, hidden, targets), found), "with and without a graph: the same bits"
    first, own = hidden[:rows], frozen(hidden[None, :rows])[0]
    # As a model that is scored by its own logits is, and as one whose head learns.
    scored = own.gather(1, targets[:rows, None]).squeeze(1) - own.logsumexp(1)
    assert relative(torch.autograd.grad(scored.sum(), hidden)[0][:rows], wanted[:rows]) < 2e-6
    learns = Head(linear.requires_grad_(), Transform())(first, targets[:rows])
    assert torch.equal(learns, found[:rows])
    assert relative(torch.autograd.grad(learns.sum(), hidden)[0][:rows], wanted[:rows]) < 2e-6


@pytest.mark.parametrize("rows", [3, 60])
def test_bf16_is_right_over_a_real_vocabulary(rows: int) -> None:
    """But for the rounding of the gradient itself and of the softmax that it is made of: 2^-9 each."""
    hidden, linear, targets, expected, wanted = of_a_real_size(60, torch.bfloat16)
    found = by(rows, Head(linear.requires_grad_(False), Transform()), hidden, targets)
    assert abs(float((found.detach().double() - expected).mean())) < 1e-6
    assert relative(torch.autograd.grad(found.sum(), hidden)[0], wanted) < 4e-3
    learns = Head(linear.requires_grad_(), Transform())(hidden[:rows], targets[:rows])
    assert relative(torch.autograd.grad(learns.sum(), hidden)[0][:rows], wanted[:rows]) < 4e-3


def of_a_real_size(rows: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, nn.Linear, Tensor, Tensor, Tensor]:
    """Hidden states, weights, targets as of a real model: one of many tokens stands out, with a probability near 0.8.

    Log-probabilities and their gradient at the hidden states, in float64.
    """
    torch.manual_seed(3)
    linear = nn.Linear(576, 49_152, bias=False)
    nn.init.normal_(linear.weight, std=0.1)
    linear = linear.to(dtype)
    likely = linear.weight.detach()[torch.randint(49_152, (rows,))]
    hidden = (torch.randn(rows, 576) + 3 * likely).to(dtype).requires_grad_()
    targets = torch.randint(49_152, (rows,))
    exact = hidden.detach().double().requires_grad_()
    logits = exact @ linear.weight.detach().double().t()
    expected = logits.gather(1, targets[:, None]).squeeze(1) - logits.logsumexp(1)
    return hidden, linear, targets, expected.detach(), torch.autograd.grad(expected.sum(), exact)[0]


def by(rows: int, fused: Head, hidden: Tensor, targets: Tensor) -> Tensor:
    """So many at once."""
    return torch.cat([fused(h, t) for h, t in zip(hidden.split(rows), targets.split(rows), strict=True)])


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())
