"""What the pairs say of each other: a small model, trained on four fifths of them, judges the last fifth.

A pair that it sees the other way round, and surely so, may have been labelled the wrong way round. Of the pairs about
which it is surest, the share that it sees so is about the share of flipped labels: there it is seldom wrong itself
(the idea of confident learning, Northcutt et al. 2021, arXiv:1911.00068).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data import Example

Floats = NDArray[np.float64]
FOLDS = 5
WIDTH = 1 << 18
# Answers of so few tokens mean something only with the prompt in front of them.
SHORT, PROMPT_TOKENS = 4, 64
# The surest share; fewer pairs in it would make no figure.
SUREST, LEAST_SURE = 0.3, 30
# Pairs looked at, at most: seconds, not minutes.
MOST = 5_000
# Inverse strength of the penalty on weights, in scikit-learn's words.
C = 3.0


@dataclass(frozen=True)
class Opinion:
    """Of the examples at `places`: log odds, out of fold, that the preferred answer is the better one."""

    places: NDArray[np.int64]
    odds: Floats

    @property
    def accuracy(self) -> float:
        return float((self.odds > 0).mean())

    @property
    def flipped(self) -> float:
        """The share of the surest pairs that are seen the other way round."""
        order = np.argsort(-np.abs(self.odds), kind="stable")
        return float((self.odds[order[: int(SUREST * len(order))]] < 0).mean())


def available() -> bool:
    return find_spec("sklearn") is not None


def opinion(examples: Sequence[Example], margins: Floats, seed: int) -> Opinion | None:
    """`margins`: of each example, any figures [n, m] that change their sign with its label. Pairs only.

    None where they are too few, or fill fewer than FOLDS prompts.
    """
    draw = np.random.default_rng(seed)
    places = np.sort(draw.permutation(len(examples))[:MOST])
    chosen = [examples[i] for i in places]
    groups = {group: i for i, group in enumerate(dict.fromkeys(example.group for example in chosen))}
    if len(groups) < FOLDS or SUREST * len(chosen) < LEAST_SURE:
        return None
    fold_of = draw.permutation(len(groups)) % FOLDS
    folds = np.array([fold_of[groups[example.group]] for example in chosen])
    return Opinion(places, out_of_fold(features(chosen, margins[places]), folds, draw))


def out_of_fold(matrix: Any, folds: NDArray[np.int64], draw: np.random.Generator) -> Floats:
    """Every row is the better answer minus the other: half of them are turned round to train on."""
    from scipy.sparse import diags
    from sklearn.linear_model import LogisticRegression

    found = np.zeros(matrix.shape[0])
    for fold in range(FOLDS):
        rest = np.flatnonzero(folds != fold)
        signs = draw.permutation(np.where(np.arange(len(rest)) % 2, 1.0, -1.0))
        model = LogisticRegression(C=C, fit_intercept=False, solver="liblinear", tol=1e-3, random_state=0)
        model.fit(diags(signs) @ matrix[rest], signs)
        found[folds == fold] = model.decision_function(matrix[folds == fold])
    return found


def features(examples: Sequence[Example], margins: Floats) -> Any:
    """[n, WIDTH + m]: which tokens and pairs of them one answer has and the other lacks, rows of length 1; margins."""
    from scipy.sparse import csr_matrix, hstack

    rows, columns, values = [], [], []
    for row, example in enumerate(examples):
        better, other = (present(example, number) for number in (0, 1))
        for sign, only in ((1.0, better - other), (-1.0, other - better)):
            rows += [row] * len(only)
            columns += sorted(only)
            values += [sign] * len(only)
    words = csr_matrix((values, (rows, columns)), shape=(len(examples), WIDTH))
    norms = np.sqrt(np.bincount(rows, minlength=len(examples)))
    words = csr_matrix(words.multiply(1 / np.maximum(norms, 1.0)[:, None]))
    spread = np.sqrt((margins**2).mean(axis=0))
    return hstack([words, csr_matrix(margins / np.maximum(spread, 1e-9))]).tocsr()


def present(example: Example, number: int) -> set[int]:
    """Tokens of an answer and their neighbours, each by its place in the row; with the prompt's where it is short."""
    ids = example.answers[number].ids[example.prefix :]
    found = {hashed(token, -1) for token in ids} | {hashed(a, b) for a, b in pairwise(ids)}
    if len(ids) <= SHORT:
        prompt = example.answers[number].ids[: example.prefix][-PROMPT_TOKENS:]
        found |= {hashed(token, -2 - word) for token in ids for word in prompt}
    return found


def hashed(a: int, b: int) -> int:
    return (a * 2_654_435_761 + b * 40_503 + 97) % 4_294_967_291 % WIDTH
