"""A small model that has seen other pairs only doubts the labels that were turned round."""

import random

import pytest

from preferences.checks.flips import agreement, flip_rate, text_margins
from tests.unit.preferences.checks.planted import clean, pair

KIND = "gladly,kindly,thank you,please,of course".split(",")
RUDE = "obviously,whatever,as if,do it yourself,no way".split(",")


def polite(count, flips):
    """Chosen is polite and rejected rude, in words that a model can learn; the set of places that were turned round."""
    draw = random.Random(0)
    turned = set(draw.sample(range(count), round(flips * count)))
    pairs = []
    for at, row in enumerate(clean(count, seed=3)):
        good, bad = f"{row['chosen']} {draw.choice(KIND)}", f"{row['rejected']} {draw.choice(RUDE)}"
        chosen, rejected = (bad, good) if at in turned else (good, bad)
        pairs.append(pair({**row, "chosen": chosen, "rejected": rejected}, at + 1))
    return pairs, turned


@pytest.mark.parametrize("flips", [0.0, 0.05, 0.2])
def test_the_rate_of_flips_is_measured_and_the_flipped_come_first(flips):
    pairs, turned = polite(1_000, flips)
    margins = text_margins(pairs)
    assert agreement(margins) > 0.9 - flips
    assert flip_rate(margins) == pytest.approx(flips, abs=0.05)
    if turned:
        first = sorted(range(len(pairs)), key=margins.__getitem__)[: len(turned)]
        assert len(turned & set(first)) > 0.8 * len(turned)


def test_where_words_say_nothing_the_model_says_so():
    margins = text_margins([pair(row, at) for at, row in enumerate(clean(600), 1)])
    assert agreement(margins) == pytest.approx(0.5, abs=0.07)


def test_few_pairs_teach_nothing():
    assert text_margins([pair(row, at) for at, row in enumerate(clean(100), 1)]) is None
