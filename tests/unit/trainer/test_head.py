"""The fused head is log_softmax of the logits, with its gradients, whatever the tiles and whatever is kept of them."""

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
    monkeypatch.setattr(head, "TILE_BYTES", tile)
    monkeypatch.setattr(head, "KEPT_BYTES", kept)
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
