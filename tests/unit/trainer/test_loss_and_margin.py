"""Loss, rewards, margin and accuracy of a run say the same: for every loss the one follows from the other as shown."""

import re
from math import exp, log
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.contract.losses import LOSSES, LossName
from core.contract.run_spec import Settings
from tests.scores import NAMES, answers_of, auto, make_scores
from trainer import figures
from trainer.losses import Scores, compared, loss, preference

PAGE = Path(__file__).parents[3] / "docs" / "figures.md"


def s(z: float) -> float:
    return 1 / (1 + exp(-z))


def cost(z: float) -> float:
    return -log(s(z))


def by_hand(shown: dict[str, float], settings: Settings) -> float:
    """The loss of one pair, or one single answer, from its figures alone: docs/figures.md, written a second time."""
    w, m = shown.get("rewards/chosen", 0.0), shown.get("rewards/margins", 0.0)
    other = shown.get("rewards/rejected", 0.0)
    beta, e = settings.beta, settings.label_smoothing
    z0 = beta * shown.get("kl", 0.0)
    wanted, unwanted = settings.desirable_weight, settings.undesirable_weight

    def odds(reward: float) -> float:
        p = reward / settings.orpo_lambda
        return p - log(1 - exp(p))

    formulas = {
        **dict.fromkeys(("sigmoid", "sigmoid_norm", "ld", "s_dpo", "plackett_luce"), lambda: cost(m)),
        "robust": lambda: ((1 - e) * cost(m) - e * cost(-m)) / (1 - 2 * e),
        "hinge": lambda: max(0.0, 1 - m),
        "ipo": lambda: ((m - 0.5) / beta) ** 2,
        "exo_pair": lambda: s(m) * (log(s(m)) - log(1 - e)) + s(-m) * (log(s(-m)) - log(e)),
        "dpop": lambda: cost(m - settings.dpop_lambda * max(0.0, -w)),
        "apo_zero": lambda: s(-w) + s(other),
        "apo_down": lambda: s(w) + s(-m),
        "nca_pair": lambda: cost(w) + cost(-w) / 2 + cost(-other) / 2,
        "bco_pair": lambda: cost(w) + cost(-other),
        "sppo_hard": lambda: ((w - 0.5) / beta) ** 2 + ((other + 0.5) / beta) ** 2,
        "simpo": lambda: cost(m - beta * settings.simpo_gamma_ratio),
        "orpo": lambda: -w / settings.orpo_lambda + settings.orpo_lambda * cost(odds(w) - odds(other)),
        "kto": lambda: wanted * s(z0 - w) if "rewards/chosen" in shown else unwanted * s(other - z0),
    }
    return float(formulas[settings.loss]())


def drawn(name: LossName, seed: int, answers: int | None = None) -> Scores:
    """Three examples of answers of very different lengths, moved by up to a nat a token."""
    draw = torch.Generator().manual_seed(seed)
    shape = (3, answers or min(2, answers_of(name)))
    lengths = torch.randint(1, 300, shape, generator=draw).double()
    shared = lengths.amin(dim=1, keepdim=True)

    def sums(low: float, high: float) -> tuple[Tensor, Tensor]:
        a_token = low + (high - low) * torch.rand(shape, generator=draw, dtype=torch.float64)
        return a_token * lengths, a_token * shared

    reference, reference_heads = sums(-3.0, -1.0)
    moved, moved_heads = sums(-0.2, 0.2)
    if not LOSSES[name].reference:
        reference, reference_heads = torch.zeros_like(reference), torch.zeros_like(reference)
        moved, moved_heads = sums(-3.0, -0.1)
    return make_scores(
        shape[1],
        policy=reference + moved,
        reference=reference,
        lengths=lengths,
        heads=reference_heads + moved_heads,
        reference_heads=reference_heads,
    )


def row(scores: Scores, number: int) -> Scores:
    return Scores(*(each if each.dim() == 0 else each[number : number + 1] for each in scores))


def shown(scores: Scores, settings: Settings) -> dict[str, float]:
    totals = figures.sums(scores, settings, loss(scores, settings), preference(scores, settings))
    return figures.shown(figures.means(totals.tolist()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_the_loss_follows_from_the_rewards_that_are_shown(name: LossName, seed: int) -> None:
    scores, settings = drawn(name, seed), auto(name)
    for number in range(3):
        found = shown(row(scores, number), settings)
        assert found["loss"] == pytest.approx(by_hand(found, settings), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if answers_of(name) > 1])
@pytest.mark.parametrize("seed", range(4))
def test_the_accuracy_is_the_share_of_pairs_with_a_margin(name: LossName, seed: int) -> None:
    scores, settings = drawn(name, seed, answers=2), auto(name)
    margins = [shown(row(scores, number), settings)["rewards/margins"] for number in range(3)]
    assert shown(scores, settings)["rewards/accuracies"] == pytest.approx(sum(m > 0 for m in margins) / 3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_compared_is_a_mean_where_the_loss_has_means(name: LossName) -> None:
    """Twice the tokens at the same log-probability a token: a loss of means stays, and so does what is compared."""
    scores, settings = drawn(name, 0), auto(name)
    doubled = ("policy", "reference", "heads", "reference_heads", "lengths")
    longer = scores._replace(**{field: 2 * getattr(scores, field) for field in doubled})
    same = torch.allclose(preference(longer, settings), preference(scores, settings))
    assert same == LOSSES[name].a_token
    factor = 1 if same else 2
    assert torch.allclose(compared(longer, settings), factor * compared(scores, settings))


@pytest.mark.parametrize("name", ["sigmoid_norm", "ipo"])
def test_a_long_answer_that_moved_less_a_token_is_behind(name: LossName) -> None:
    """Its sum is ahead: 300 tokens at +0.1 beside 10 at +0.5, the shorter one being preferred."""
    h = torch.tensor([[5.0, 30.0]], dtype=torch.float64)
    scores = row(make_scores(), 0)._replace(
        policy=h, reference=torch.zeros_like(h), lengths=torch.tensor([[10.0, 300.0]], dtype=torch.float64)
    )
    found = shown(scores, auto(name, beta=2.0))
    assert (found["rewards/chosen"], found["rewards/rejected"]) == pytest.approx((1.0, 0.2))
    assert found["rewards/accuracies"] == 1.0


def test_the_page_names_every_loss_once_and_every_figure() -> None:
    text = PAGE.read_text()
    table = text[text.index("| loss | reward of an answer") :].split("\n\n")[0]
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(named) == sorted(NAMES)
    means = {name for line in table.splitlines()[2:] if "/ \\|y\\|" in line for name in re.findall(r"`(\w+)`", line)}
    assert means & set(NAMES) == {name for name in NAMES if LOSSES[name].a_token}
    assert all(f"`{name}`" in text or name == "loss" for name in figures.shown(dict.fromkeys(figures.NAMES, 0.0)))
