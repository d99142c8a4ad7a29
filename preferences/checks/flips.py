"""Pairs that a small model of the other pairs would have decided the other way (confident learning, Northcutt et al.
2021): on words alone, so that it can be set beside what a reference model says."""

from collections.abc import Sequence

from core.contract.preference import PreferenceRecord
from preferences.checks.seen import digest, told

FOLDS = 5
# Of more pairs as many are learned from; all are judged.
MOST = 50_000
BUCKETS = 1 << 18
FEWEST = 200


def text_margins(pairs: Sequence[PreferenceRecord], seed: int = 0) -> list[float] | None:
    """For each pair the log-odds that its chosen answer is the better one, from a linear model on words and pairs of
    words that saw only other prompts; None where the pairs are too few to learn from.

    Below 0 the model disagrees with the label; how far to trust it, `agreement` says.
    """
    if len(pairs) < FEWEST:
        return None
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    words = HashingVectorizer(n_features=BUCKETS, ngram_range=(1, 2), alternate_sign=False, norm="l2")
    difference = words.transform(told(each.chosen) for each in pairs) - words.transform(
        told(each.rejected) for each in pairs
    )
    folds = np.array([digest(told(each.prompt)) % FOLDS for each in pairs])
    draw = np.random.default_rng(seed)
    turned = np.where(draw.random(len(pairs)) < 0.5, 1.0, -1.0)
    margins = np.zeros(len(pairs))
    for fold in range(FOLDS):
        known = np.flatnonzero(folds != fold)
        if len(known) > MOST:
            known = np.sort(draw.choice(known, MOST, replace=False))
        if len(known) == 0 or len(known) == len(pairs) or len(set(turned[known].tolist())) < 2:
            continue
        # A pair and its mirror image say the same, so one of them, drawn at random, is enough.
        model = LogisticRegression(C=10.0, fit_intercept=False, max_iter=200)
        model.fit(difference[known].multiply(turned[known, None]).tocsr(), turned[known])
        margins[folds == fold] = model.decision_function(difference[folds == fold])
    return [float(each) for each in margins]


def agreement(margins: Sequence[float]) -> float:
    """In which share of the pairs the model agrees with the label: near a half it knows nothing of the preference."""
    return sum((each > 0) + (each == 0) / 2 for each in margins) / max(1, len(margins))


def flip_rate(margins: Sequence[float]) -> float:
    """The share of labels that are turned round, if every one is with the same probability.

    Flips make the model agree with fewer labels, but so does a preference that words do not show; the model's own
    confidence tells them apart. Of pairs about which it is the surest, it should be right in nearly all.
    """
    surest = sorted(margins, key=abs)[-max(1, len(margins) // 5) :]
    return sum(each < 0 for each in surest) / max(1, len(surest))
