import math

import pytest
import torch

from core.contract.run_spec import Settings
from trainer.losses import AT_START, LOSSES, Moved, moved, negative_log_likelihood, preference, share, wins

POLICY = torch.tensor([[-10.0, -12.0], [-7.5, -3.25], [-20.0, -40.0]], dtype=torch.float64)
REFERENCE = torch.tensor([[-11.0, -11.5], [-7.5, -3.25], [-18.0, -45.0]], dtype=torch.float64)


def by_hand(difference: float, beta: float, smoothing: float) -> float:
    right, wrong = 1 / (1 + math.exp(-beta * difference)), 1 / (1 + math.exp(beta * difference))
    return -(1 - smoothing) * math.log(right) - smoothing * math.log(wrong)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.49])
@pytest.mark.parametrize("beta", [0.01, 0.1, 2.0])
def test_the_sigmoid_loss_is_the_papers(beta: float, smoothing: float) -> None:
    settings = Settings(beta=beta, label_smoothing=smoothing)
    differences = [(-10 + 11) - (-12 + 11.5), 0.0, (-20 + 18) - (-40 + 45)]
    expected = [by_hand(d, beta, smoothing) for d in differences]
    assert preference(moved(POLICY, REFERENCE), settings).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_where_nothing_has_moved_the_loss_is_its_start_value(name: str) -> None:
    settings = Settings(loss=name, label_smoothing=0.2)  # type: ignore[arg-type]
    found = preference(moved(POLICY, POLICY), settings)
    assert found.tolist() == pytest.approx([AT_START[name](settings)] * 3, abs=1e-12)
    assert AT_START[name](settings) == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right(name: str) -> None:
    settings = Settings(loss=name, label_smoothing=0.1)  # type: ignore[arg-type]
    policy = POLICY.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: preference(moved(p, REFERENCE), settings), policy)


def test_no_overflow_far_from_the_reference() -> None:
    far = Moved(torch.tensor([-1e5, 1e5]), torch.tensor([1e5, -1e5]))
    loss = preference(far, Settings(beta=1.0))
    assert loss.tolist() == pytest.approx([2e5, 0.0])


def test_nll_is_a_mean_over_the_chosen_answers_tokens() -> None:
    lengths = torch.tensor([[5.0, 3.0], [3.0, 3.0], [10.0, 9.0]], dtype=torch.float64)
    assert negative_log_likelihood(POLICY, lengths).tolist() == pytest.approx([2.0, 2.5, 2.0])


def test_shares_of_micro_batches_add_up_to_the_mean() -> None:
    losses = torch.arange(7.0)
    parts = [share(part, 1, 7, 2) for part in losses.split(2)]
    assert sum(map(float, parts)) / 2 == pytest.approx(float(losses.mean()))
    assert float(share(losses, 0, 7, 2)) == 0


def test_a_difference_below_rounding_is_half_a_win() -> None:
    lengths = torch.full((4, 2), 10.0)
    assert wins(torch.tensor([0.5, -0.5, 5e-4, -5e-4]), lengths).tolist() == [1.0, 0.0, 0.5, 0.5]
