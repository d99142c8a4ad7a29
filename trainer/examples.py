"""What a loss compares: from a record of any kind to the answers of its examples, the best one first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from core.contract.losses import LOSSES, LossName
from core.contract.preference import AnyRecord, Message, PreferenceRecord, RankingRecord, TieRecord, UnpairedRecord

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


def comparisons(record: AnyRecord, loss: LossName) -> list[Comparison]:
    """All examples that the loss makes of one record; none where it cannot serve the loss (a finding of admission)."""
    unit = LOSSES[loss].unit
    if isinstance(record, TieRecord):
        return []
    if isinstance(record, UnpairedRecord):
        return [Comparison((0,), label=record.label)] if unit == "single" else []
    if isinstance(record, PreferenceRecord):
        if unit == "single":
            return [Comparison((0,), label=True), Comparison((1,), label=False)]
        confidence = 1.0 if record.confidence is None else record.confidence
        return [Comparison((0, 1), confidence, record.margin or 0.0)]
    if unit == "single":
        return []
    orders = lists(record, loss) if unit == "list" else strict_pairs(record)
    return [Comparison(order) for order in orders]


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


def strict_pairs(record: RankingRecord) -> Iterator[tuple[int, ...]]:
    """Every two answers that are no tie, the better one first."""
    yield from ((i, j) for i, j in combinations(by_rank(record.ranks), 2) if record.ranks[i] < record.ranks[j])


def by_rank(ranks: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(ranks)), key=lambda i: (ranks[i], i)))
