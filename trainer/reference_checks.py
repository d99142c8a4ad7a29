"""Checks of the data report that the reference pass pays for: what the base model makes of the pairs."""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from core.contract.finding import Finding
from core.contract.findings import finding
from trainer import second_opinion
from trainer.collection import scored_tokens
from trainer.data import Example
from trainer.second_opinion import Floats, Opinion

# Nats a token by which the base model prefers the rejected answer, before that alone is a reason to look.
STRONGLY = 1.0
# A share of flipped labels below this is no reason to train otherwise.
FEW_FLIPS = 0.02
# Above it, wrong labels look like a preference that words do not show: with none turned round 0.31 of hh-helpful seem
# to be, and the list is right no more often than chance (benchmarks/bench_flips.py).
MOST_FLIPS = 0.25
# Lines in the ranked list of suspects.
LISTED = 1_000


def checks(examples: Sequence[Example], reference: Tensor, seed: int) -> list[Finding]:
    """Of pairs, and of lists by their first and their last answer; nothing where answers come alone (kto).

    reference: as trainer.reference.Reference.train, sums over the answers of `examples` in their order.
    """
    ends = np.cumsum([len(example.answers) for example in examples], dtype=np.int64)
    # A tie is no label that could be the wrong way round.
    kept = [i for i, example in enumerate(examples) if len(example.answers) > 1 and example.confidence > 0.5]
    if not kept:
        return []
    last = ends[kept] - 1
    first = ends[kept] - [len(examples[i].answers) for i in kept]
    sums: Floats = reference[:, 0].double().numpy()
    lengths: Floats = scored_tokens(examples).double().numpy()
    judged = [examples[i] for i in kept]
    margins, per_token = sums[first] - sums[last], sums[first] / lengths[first] - sums[last] / lengths[last]
    return [
        agreement(judged, margins, per_token),
        suspected_flips(judged, margins, per_token, seed),
        off_policy(sums[first], lengths[first], sums[last], lengths[last]),
    ]


def agreement(examples: Sequence[Example], margins: Floats, per_token: Floats) -> Finding:
    """How often the base model gives the preferred answer more probability than the other, before any training."""
    share = float(((margins > 0) + 0.5 * (margins == 0)).mean())
    order = np.argsort(per_token, kind="stable")
    notes = [
        (examples[i].line, f"The base model prefers the other answer by {-per_token[i]:.2f} nats a token.")
        for i in order[:20]
        if per_token[i] < 0
    ]
    detail = {"per_token": round(float((per_token > 0).mean()), 4), "pairs": len(examples)}
    return finding(
        "reference_agreement", share, count=int((margins > 0).sum()), share=share, examples=notes, detail=detail
    )


def suspected_flips(examples: Sequence[Example], margins: Floats, per_token: Floats, seed: int) -> Finding:
    """A ranked list of pairs to review; `value` is the share of labels that seem to be the wrong way round.

    By the second opinion where there is one: it learns what the base model's margins say, beside the words. Else by
    the margins alone, whose share says little of a weak model.
    """
    if second_opinion.available() and all(len(example.answers) == 2 for example in examples):
        seen = second_opinion.opinion(examples, np.stack([margins, per_token], axis=1), seed)
        if seen is not None:
            return by_opinion(examples, per_token, seen)
    return by_margin(examples, per_token)


def by_margin(examples: Sequence[Example], per_token: Floats) -> Finding:
    count = int((per_token < -STRONGLY).sum())
    order = np.argsort(per_token, kind="stable")[:count].tolist()
    share = count / len(examples)
    return finding(
        "suspected_flips",
        share,
        count=count,
        share=share,
        examples=[(examples[i].line, f"reference margin {per_token[i]:.2f} nats a token") for i in order],
        action="Review the listed pairs from the top." if count else "Nothing to do.",
        detail={"by": "reference", "pairs": len(examples), "lines": [examples[i].line for i in order[:LISTED]]},
    )


def by_opinion(examples: Sequence[Example], per_token: Floats, seen: Opinion) -> Finding:
    """As many suspects as the share says, the surest first."""
    rate, pairs = seen.flipped, len(seen.places)
    count = min(round(rate * pairs), int((seen.odds < 0).sum()))
    order = np.argsort(seen.odds, kind="stable")[:count]
    suspects = [(int(place), float(odds)) for place, odds in zip(seen.places[order], seen.odds[order], strict=True)]
    notes = [
        (
            examples[i].line,
            f"P(chosen is better) {1 / (1 + math.exp(-odds)):.2f} by the other pairs; "
            f"reference margin {per_token[i]:.2f} nats a token",
        )
        for i, odds in suspects
    ]
    return finding(
        "suspected_flips",
        rate,
        count=count,
        share=count / pairs,
        examples=notes,
        action=remedy(rate),
        detail={
            "by": "cross-validation",
            "accuracy": round(seen.accuracy, 4),
            "pairs": pairs,
            "lines": [examples[i].line for i, _ in suspects[:LISTED]],
        },
    )


def remedy(rate: float) -> str:
    if rate < FEW_FLIPS:
        return "Nothing to do: hardly a label seems to be the wrong way round."
    if rate > MOST_FLIPS:
        return (
            "Look at some of the listed pairs before anything else: either so many labels are wrong, or what is "
            "preferred does not show in the words, and the list says little."
        )
    return f"Review the listed pairs from the top, or leave them out; else train with label_smoothing {rate:.2f}."


def off_policy(chosen: Floats, tokens: Floats, rejected: Floats, its_tokens: Floats) -> Finding:
    """Nats a token that the preferred answers cost the base model: how far they are from what it would write."""
    cost = float(-chosen.sum() / tokens.sum())
    detail = {"rejected": round(float(-rejected.sum() / its_tokens.sum()), 4), "pairs": len(chosen)}
    return finding("off_policy_distance", cost, detail=detail)
