"""What is reported of each example, and how examples add up to a batch."""

import pytest
import torch

from core.contract.losses import LOSSES, LossName
from tests.scores import NAMES, answers_of, auto, make_scores
from trainer.losses import kl, rewards, share, wins

SUMS = [name for name in NAMES if answers_of(name) == 2 and name != "ld" and not LOSSES[name].a_token]


@pytest.mark.parametrize("name", SUMS)
def test_rewards_are_beta_h(name: LossName) -> None:
    chosen, rejected = rewards(make_scores(), auto(name, beta=0.5))
    assert chosen.tolist() == [0.5, -0.25, -1.0]
    assert rejected.tolist() == [-0.25, 0.125, 2.5]


@pytest.mark.parametrize("name", ["sigmoid_norm", "ipo"])
def test_rewards_are_beta_h_a_token_where_the_loss_is(name: LossName) -> None:
    chosen, rejected = rewards(make_scores(), auto(name, beta=0.5))
    assert chosen.tolist() == pytest.approx([0.5 / 5, -0.25 / 3, -1.0 / 10])
    assert rejected.tolist() == pytest.approx([-0.25 / 3, 0.125 / 4, 2.5 / 9])


def test_rewards_of_ld_have_their_tails_discounted() -> None:
    chosen, rejected = rewards(make_scores(), auto("ld", beta=1.0, ld_alpha=0.5))
    assert chosen.tolist() == pytest.approx([0.75, -0.5, -1.5])
    assert rejected.tolist() == pytest.approx([-0.5, 0.375, 4.0])


@pytest.mark.parametrize(("name", "beta"), [("simpo", 2.0), ("orpo", 0.1)])
def test_without_a_reference_the_reward_is_a_mean_a_token(name: LossName, beta: float) -> None:
    chosen, rejected = rewards(make_scores(), auto(name))
    assert chosen.tolist() == pytest.approx([-2.0 * beta, -2.5 * beta, -2.0 * beta])
    assert rejected.tolist() == pytest.approx([-4.0 * beta, -0.8125 * beta, -40 / 9 * beta])
    assert wins(make_scores(), auto(name)).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("name", ["s_dpo", "plackett_luce"])
def test_of_a_list_the_others_rewards_are_averaged_over_those_there_are(name: LossName) -> None:
    scores = make_scores(3, there=[[True] * 3, [True, True, False], [True] * 3])
    chosen, rejected = rewards(scores, auto(name))
    assert chosen.tolist() == [1.0, -0.5, -2.0]
    assert rejected.tolist() == [0.0, 0.25, 1.5]
    assert wins(scores, auto(name)).tolist() == [1.0, 0.0, 0.25]


def test_a_single_answer_is_right_on_its_own_side_of_kl() -> None:
    scores = make_scores(1, kl=-0.6)
    chosen, rejected = rewards(scores, auto("kto"))
    assert chosen.tolist() == rejected.tolist() == pytest.approx([0.1, -0.05, -0.2])
    assert wins(scores, auto("kto")).tolist() == [1.0, 0.0, 0.0]
    assert wins(scores._replace(kl=scores.h[1, 0]), auto("kto")).tolist() == [1.0, 0.5, 0.0]


def test_a_lead_below_rounding_is_half_a_win() -> None:
    """Below 1e-4 a token of the longer answer, here 10 tokens."""
    scores = make_scores(reference=[[-0.5, 0.0]] * 3, lengths=[[5.0, 10.0]] * 3)
    for lead, won in [(2e-3, 1.0), (-2e-3, 0.0), (5e-4, 0.5), (-5e-4, 0.5)]:
        policy = torch.tensor([[-0.5 + lead, 0.0]] * 3, dtype=torch.float64)
        assert wins(scores._replace(policy=policy), auto("sigmoid")).tolist() == [won] * 3


@pytest.mark.parametrize("name", NAMES)
def test_figures_carry_no_gradient(name: LossName) -> None:
    scores = make_scores(answers_of(name))
    scores = scores._replace(policy=scores.policy.requires_grad_(), heads=scores.heads.requires_grad_())
    figures = [*rewards(scores, auto(name)), wins(scores, auto(name))]
    assert not any(figure.requires_grad for figure in figures)
    assert all(torch.isfinite(figure).all() for figure in figures)


def test_kl_is_never_negative() -> None:
    h = torch.tensor([1.0, -0.5, 2.5], requires_grad=True)
    assert kl(h).item() == 1.0
    assert kl(-h).item() == 0.0
    assert not kl(h).requires_grad


def test_shares_of_micro_batches_add_up_to_the_mean() -> None:
    losses = torch.arange(7.0)
    parts = [share(part, 1, 7, 2) for part in losses.split(2)]
    assert sum(map(float, parts)) / 2 == pytest.approx(float(losses.mean()))
    assert float(share(losses, 0, 7, 2)) == 0
