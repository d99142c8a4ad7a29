"""What a loss compares: from a record of any kind to the answers of its examples, the best one first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from core.contract.losses import LOSSES, LossName
from core.contract.preference import (
    Annotator,
    AnyRecord,
    Message,
    PreferenceRecord,
    RankingRecord,
    TieRecord,
    UnpairedRecord,
)
from core.contract.run_spec import Annotators, Ties

Turns = Sequence[Message]


@dataclass(frozen=True)
class Comparison:
    """Indices into the record's answers, and what is known of them beside."""

    order: tuple[int, ...]
    confidence: float = 1.0
    margin: float = 0.0
    label: bool = True


def answers(record: AnyRecord) -> list[Turns]:
    if isinstance(record, PreferenceRecord | TieRecord):
        return [record.chosen, record.rejected]
    if isinstance(record, UnpairedRecord):
        return [record.completion]
    return list(record.completions)


def comparisons(
    record: AnyRecord, loss: LossName, ties: Ties = "drop", annotators: Annotators = "ignore"
) -> list[Comparison]:
    """All examples that the loss makes of one record; none where it cannot serve the loss (a finding of admission).

    ties `half`: of equal answers each is better with P = 1/2, as chess counts a draw half a win; `drop` leaves them
    out (`ties_left_out` counts them). annotators `confidence`: `votes` for records that state no confidence.
    """
    unit = LOSSES[loss].unit
    if isinstance(record, TieRecord):
        return [Comparison((0, 1), 0.5)] if unit == "pair" and ties == "half" else []
    if isinstance(record, UnpairedRecord):
        return [Comparison((0,), label=record.label)] if unit == "single" else []
    if isinstance(record, PreferenceRecord):
        if unit == "single":
            return [Comparison((0,), label=True), Comparison((1,), label=False)]
        return [voted(record) if annotators == "confidence" and unit == "pair" else stated(record)]
    if unit == "single":
        return []
    if unit == "list":
        return [Comparison(order) for order in lists(record, loss)]
    found = [Comparison((i, j), margin=float(record.ranks[j] - record.ranks[i])) for i, j in strict_pairs(record)]
    return found + ([Comparison(pair, 0.5) for pair in equals(record)] if ties == "half" else [])


def stated(record: PreferenceRecord) -> Comparison:
    return Comparison((0, 1), 1.0 if record.confidence is None else record.confidence, record.margin or 0.0)


def voted(record: PreferenceRecord) -> Comparison:
    """The other way round where most annotators say so; its margin, from scores that disagree with them, is void."""
    if record.confidence is not None or not record.annotators:
        return stated(record)
    p = votes(record.annotators)
    return Comparison((0, 1), p, record.margin or 0.0) if p >= 0.5 else Comparison((1, 0), 1 - p)


def votes(annotators: Sequence[Annotator]) -> float:
    """P(chosen is better) = (c + t / 2 + 1 / 2) / (n + 1), of n votes c for chosen and t for neither.

    The mean of a share under Jeffreys' prior, Beta(1/2, 1/2): one vote is 0.75, three that agree 0.875, never 1.
    """
    chosen = sum({"chosen": 1.0, "tie": 0.5, "rejected": 0.0}[each.choice] for each in annotators)
    return (chosen + 0.5) / (len(annotators) + 1)


def ties_left_out(record: AnyRecord, loss: LossName, ties: Ties = "drop") -> int:
    """How many times two answers are equal in the record, and nothing is made of it."""
    if isinstance(record, TieRecord):
        return int(not comparisons(record, loss, ties))
    if not isinstance(record, RankingRecord) or (ties == "half" and LOSSES[loss].unit == "pair"):
        return 0
    # Equally good answers each have their own list.
    return int(len(set(record.ranks)) == 1) if loss == "s_dpo" else sum(1 for _ in equals(record))


def lists(record: RankingRecord, loss: LossName) -> Iterator[tuple[int, ...]]:
    """s_dpo: each best answer against all that are worse. plackett_luce: the whole order; one with ties, its pairs."""
    ranks = record.ranks
    if loss == "s_dpo":
        best = min(ranks)
        worse = tuple(i for i in by_rank(ranks) if ranks[i] > best)
        if worse:
            yield from ((i, *worse) for i, rank in enumerate(ranks) if rank == best)
    elif len(set(ranks)) == len(ranks):
        yield by_rank(ranks)
    else:
        yield from strict_pairs(record)


def strict_pairs(record: RankingRecord) -> Iterator[tuple[int, int]]:
    """Every two answers that are no tie, the better one first."""
    yield from ((i, j) for i, j in combinations(by_rank(record.ranks), 2) if record.ranks[i] < record.ranks[j])


def equals(record: RankingRecord) -> Iterator[tuple[int, int]]:
    yield from ((i, j) for i, j in combinations(by_rank(record.ranks), 2) if record.ranks[i] == record.ranks[j])


def by_rank(ranks: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(ranks)), key=lambda i: (ranks[i], i)))
