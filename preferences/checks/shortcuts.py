"""Whether a look at the surface tells the better answer: a linear model on length, mark-up, punctuation, first word."""

from typing import Any
from zlib import crc32

from core.contract.finding import Finding
from core.contract.findings import finding, unseen
from preferences.checks.sample import Sample
from preferences.checks.seen import Seen, digest
from preferences.checks.surface import FEATURES, features

SAMPLE = 5_000
FEWEST = 200
FOLDS = 5
# The first word falls into one of so many.
WORDS = 32

Row = tuple[int, list[float], bool | None]


class Separable:
    """Keeps numbers of `SAMPLE` records, no texts."""

    def __init__(self) -> None:
        self._sample: Sample[Row] = Sample(SAMPLE)

    def see(self, seen: Seen) -> None:
        if seen.label is None and not (compared := seen.comparisons()):
            return
        if (place := self._sample.place()) is None:
            return
        fold = digest(seen.prompt) % FOLDS
        if seen.label is not None:
            self._sample.put(place, (fold, _numbers(seen.answers[0]), seen.label))
            return
        # Of a ranking the best against the last: the widest difference that it holds.
        better, worse = compared[0][0], compared[-1][1]
        ours, theirs = _numbers(seen.answers[better]), _numbers(seen.answers[worse])
        self._sample.put(place, (fold, [a - b for a, b in zip(ours, theirs, strict=True)], None))

    def findings(self) -> list[Finding]:
        rows = self._sample.held
        if not self._sample.offered:
            return []
        labels = {label for _, _, label in rows}
        if len(rows) < FEWEST or (len(labels) == 1 and None not in labels):
            return [unseen("trivially_separable", f"Fewer than {FEWEST} records, or one label alone, show nothing.")]
        if len({fold for fold, _, _ in rows}) < FOLDS:
            return [unseen("trivially_separable", f"Fewer than {FOLDS} prompts.")]
        auc, alone = separability(rows)
        detail: dict[str, Any] = {"of": self._sample.offered, "looked_at": len(rows), "features": alone}
        if alone and auc > 0.5:
            detail["strongest"] = alone[0]["feature"]
        return [finding("trivially_separable", auc, detail=detail)]


def _numbers(text: str) -> list[float]:
    first = text.split(maxsplit=1)[:1]
    words = [0.0] * WORDS
    if first:
        words[crc32(first[0].lower().encode(errors="surrogatepass")) % WORDS] = 1.0
    return features(text) + words


def separability(rows: list[Row]) -> tuple[float, list[dict[str, Any]]]:
    """The AUC over held-out folds (split by prompt), and that of the strongest features by themselves.

    Of pairs it is taken within each: the share in which the better answer gets the higher score. Their differences are
    turned round at random, so that both orders are there to tell apart.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    fold = np.array([each for each, _, _ in rows])
    values = np.array([each for _, each, _ in rows])
    paired = rows[0][2] is None
    if paired:
        wanted = np.random.default_rng(0).random(len(rows)) < 0.5
        values = np.where(wanted[:, None], values, -values)
    else:
        wanted = np.array([label for _, _, label in rows])
        values = values - values.mean(axis=0)
    spread = values.std(axis=0)
    values = values / np.where(spread > 0, spread, 1.0)
    scores = np.zeros(len(rows))
    for held_out in range(FOLDS):
        test = fold == held_out
        if len(set(wanted[~test].tolist())) < 2:
            continue
        model = LogisticRegression(C=0.1, fit_intercept=not paired, max_iter=200)
        scores[test] = model.fit(values[~test], wanted[~test]).decision_function(values[test])
    alone = [(float(roc_auc_score(wanted, values[:, place])), name) for place, name in enumerate(FEATURES)]
    strongest = sorted(alone, key=lambda each: -abs(each[0] - 0.5))[:3]
    told = [{"feature": name, "auc": round(value, 3)} for value, name in strongest]
    if paired:
        right = np.where(wanted, scores, -scores)
        return float((right > 0).mean() + (right == 0).mean() / 2), told
    return float(roc_auc_score(wanted, scores)), told
