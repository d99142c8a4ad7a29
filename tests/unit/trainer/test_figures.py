"""Figures of rows add up to those of the whole batch, whatever the rows."""

import pytest
import torch

from core.contract.run_spec import Settings
from trainer import figures
from trainer.collection import Collection, scores
from trainer.data import Example
from trainer.losses import loss, preference
from trainer.render import Answer


def example(*lengths: int, **more: object) -> Example:
    answers = tuple(Answer(tuple(range(2 + length)), ((2, 2 + length),)) for length in lengths)
    return Example("e", 1, 2, answers, **more)  # type: ignore[arg-type]


def seen(examples: list[Example], settings: Settings) -> torch.Tensor:
    """Sums of a row; its log-probabilities are decided by the example."""
    count = Collection(examples).sequences
    policy = torch.tensor([[-float(len(a.ids)) - e.weight, -1.0] for e in examples for a in e.answers])
    found = scores(examples, policy, torch.full((count, 2), -4.0))
    return figures.sums(found, settings, loss(found, settings), preference(found, settings))


@pytest.mark.parametrize("name", ["sigmoid", "plackett_luce", "kto"])
def test_rows_add_up(name: str) -> None:
    settings = Settings(loss=name)  # type: ignore[arg-type]
    if name == "kto":
        examples = [example(3 + i, label=i % 3 == 0, weight=1.0 + i) for i in range(6)]
    else:
        examples = [example(3, 5 + i, weight=1.0 + i) for i in range(5)] + [example(9, 2, 4)] * (name != "sigmoid")
    whole = figures.means(seen(examples, settings).tolist())
    parts = seen(examples[:2], settings) + seen(examples[2:3], settings) + seen(examples[3:], settings)
    assert figures.means(parts.tolist()) == pytest.approx(whole)
    assert whole["rewards/margins"] == pytest.approx(whole["rewards/chosen"] - whole["rewards/rejected"])


def test_single_answers_count_for_their_side_only() -> None:
    settings = Settings(loss="kto")
    found = figures.means(seen([example(4, label=True), example(8, label=False)], settings).tolist())
    assert found["logps/chosen"] == -7
    assert found["logps/rejected"] == -11
    assert "logps/accuracies" not in found
    only = figures.means(seen([example(4, label=True)], settings).tolist())
    assert "rewards/rejected" not in only
    assert "rewards/margins" not in only


def test_the_gate_s_and_the_alarms_figures_are_not_shown() -> None:
    names = figures.shown(dict.fromkeys(figures.NAMES, 0.0))
    assert set(names) == set(figures.NAMES) - {"preference", "distance", "shift"}


def test_lists_of_different_lengths() -> None:
    examples = [example(3, 4, 5), example(2, 6)]
    policy = torch.arange(10.0).view(5, 2)
    found = scores(examples, policy)
    assert found.there.tolist() == [[True] * 3, [True, True, False]]
    assert found.policy.tolist() == [[0, 2, 4], [6, 8, 0]]
    assert found.heads.tolist() == [[1, 3, 5], [7, 9, 0]]
    assert found.lengths.tolist() == [[3, 4, 5], [2, 6, 1]]
