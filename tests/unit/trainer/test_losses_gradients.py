"""Gradients against finite differences, and numbers that stay numbers far out."""

import pytest
import torch

from core.contract.losses import LossName
from tests.scores import NAMES, answers_of, auto, make_scores
from trainer.losses import loss, preference

SETTINGS = {"label_smoothing": 0.1, "margin_weight": 0.3, "nll_weight": 0.4}


def case(name: LossName):  # type: ignore[no-untyped-def]
    scores = make_scores(answers_of(name), confidence=[1.0, 0.7, 0.55], margin=[0.5, 2.0, 0.0], weight=[1.0, 2.0, 0.5])
    return scores, auto(name, **SETTINGS)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right(name: LossName) -> None:
    scores, settings = case(name)
    policy, heads = scores.policy.clone().requires_grad_(), scores.heads.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, h: loss(scores._replace(policy=p, heads=h), settings), (policy, heads))


@pytest.mark.parametrize("far", [-300.0, -20.0, 20.0, 300.0])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right_far_from_the_reference(name: LossName, far: float) -> None:
    """The first answer `far` nats from its reference, the others as far the other way."""
    scores, settings = case(name)
    shift = torch.tensor([far] + [-far] * (scores.policy.shape[1] - 1), dtype=torch.float64)
    base = scores.reference if settings.loss not in ("simpo", "orpo") else scores.policy - 700
    policy = (base + shift).requires_grad_()
    heads = (scores.reference_heads + shift).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, h: loss(scores._replace(policy=p, heads=h), settings), (policy, heads))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("values", [[-1e5, -1.0, -2.0], [-1.0, -1e5, -2e5], [-1e5, -1e5, -1e5], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_overflows(name: LossName, values: list[float], dtype: torch.dtype) -> None:
    """A hundred thousand nats from the reference, or a policy that is certain of every token."""
    answers = answers_of(name)
    policy = torch.tensor([values[:answers]] * 3, dtype=dtype).requires_grad_()
    scores = make_scores(answers, dtype, heads=policy.detach())._replace(policy=policy)
    found = loss(scores, auto(name, **SETTINGS))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert policy.grad is not None
    assert torch.isfinite(policy.grad).all()


def test_orpo_is_exact_where_the_answer_is_nearly_certain() -> None:
    """1 - exp(p) loses all its digits there; expm1 does not."""
    scores = make_scores(policy=[[-5e-6, -3.0]] * 3, lengths=[[5.0, 3.0]] * 3)
    odds = float(torch.tensor(-1e-6, dtype=torch.float64) - torch.tensor(1e-6 - 0.5e-12, dtype=torch.float64).log())
    other = float(torch.tensor(-1.0, dtype=torch.float64) - torch.tensor(-1.0, dtype=torch.float64).expm1().neg().log())
    expected = 1e-6 - 0.1 * float(torch.nn.functional.logsigmoid(torch.tensor(odds - other, dtype=torch.float64)))
    assert preference(scores, auto("orpo")).tolist() == pytest.approx([expected] * 3, rel=1e-9)


@pytest.mark.parametrize("name", ["s_dpo", "plackett_luce"])
def test_an_answer_that_is_not_there_has_no_gradient(name: LossName) -> None:
    scores = make_scores(3, there=[[True] * 3, [True, True, False], [True, True, False]])
    policy = scores.policy.clone().requires_grad_()
    preference(scores._replace(policy=policy), auto(name)).sum().backward()
    assert policy.grad is not None
    assert torch.isfinite(policy.grad).all()
    assert policy.grad[1:, 2].tolist() == [0.0, 0.0]
    assert (policy.grad[:, :2] != 0).all()
