"""What the pairs say of each other: a small model, trained on four fifths of them, judges the last fifth.

A pair that it sees the other way round, and surely so, may have been labelled the wrong way round. Of the pairs about
which it is surest, the share that it sees so is about the share of flipped labels: there it is seldom wrong itself
(the idea of confident learning, Northcutt et al. 2021, arXiv:1911.00068).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
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

    better, other = present(examples, 0), present(examples, 1)
    only = [np.setdiff1d(better, other, assume_unique=True), np.setdiff1d(other, better, assume_unique=True)]
    rows, columns = np.divmod(np.concatenate(only), WIDTH)
    values = np.repeat([1.0, -1.0], [len(part) for part in only])
    words = csr_matrix((values, (rows, columns)), shape=(len(examples), WIDTH))
    norms = np.sqrt(np.bincount(rows, minlength=len(examples)))
    words = csr_matrix(words.multiply(1 / np.maximum(norms, 1.0)[:, None]))
    spread = np.sqrt((margins**2).mean(axis=0))
    return hstack([words, csr_matrix(margins / np.maximum(spread, 1e-9))]).tocsr()


def present(examples: Sequence[Example], number: int) -> NDArray[np.int64]:
    """Tokens of each example's answer and their neighbours, with the prompt's where it is short: example x WIDTH +
    the word's place in the row, each once, in order.

    In arrays: while Python counts here, it launches nothing in rank 0's thread that trains.
    """
    found = []
    for at, example in enumerate(examples):
        whole = np.array(example.answers[number].ids, dtype=np.int64)
        prompt, ids = whole[: example.prefix], whole[example.prefix :]
        words = [hashed(ids, np.int64(-1)), hashed(ids[:-1], ids[1:])]
        if len(ids) <= SHORT:
            words.append(hashed(ids[:, None], -2 - prompt[-PROMPT_TOKENS:]).ravel())
        found.append(at * WIDTH + np.concatenate(words))
    every = np.sort(np.concatenate(found))  # numpy's own unique takes twenty times as long
    return every[np.diff(every, prepend=-1) > 0]


def hashed(a: NDArray[np.int64], b: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    places: NDArray[np.int64] = (a * 2_654_435_761 + b * 40_503 + 97) % 4_294_967_291 % WIDTH
    return places
