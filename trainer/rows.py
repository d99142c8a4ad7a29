"""How the examples of a batch are cut into rows (one forward each) and dealt to the ranks.

Decided by the batch, the layout, the number of ranks and the token budget alone; the training changes by rounding only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainer.data import Example
from trainer.layouts import Layout, fed


@dataclass(frozen=True)
class Row:
    """What one rank forwards at once. A dummy holds an example that others count: the whole graph at weight 0."""

    examples: tuple[int, ...]
    weight: int = 1


class Size(NamedTuple):
    """Of an example: its index, the tokens of its longest answer, its answers, the tokens that it adds to a row."""

    number: int
    longest: int
    answers: int
    tokens: int


def plan(
    indices: Iterable[int],
    examples: Sequence[Example],
    layout: Layout,
    rank: int,
    ranks: int,
    row_tokens: int,
    boundary: int | None = None,
) -> list[Row]:
    """This rank's rows; every rank gets equally many, since ZeRO-3 needs all of them in each forward.

    `indices` into `examples`. A row is fed at most `row_tokens` tokens, padding included, unless one example alone
    needs more. `boundary`: no row mixes answers of more tokens with shorter ones (Scorer.boundary).
    """
    sizes = [Size(i, e.longest, len(e.answers), fed(e, layout)) for i in indices for e in [examples[i]]]
    # Ranks that are at work together get rows of like lengths, the longest first; ties by index.
    sizes.sort(key=lambda size: (-size.longest, size.number))
    rows = balanced(sizes, layout, ranks, row_tokens, boundary)
    missing = -len(rows) % ranks
    mine = [Row(row) for row in rows[rank::ranks]]
    if rank >= ranks - missing:
        mine.append(Row((sizes[-1].number,), weight=0))
    return mine


def balanced(
    sizes: Sequence[Size], layout: Layout, ranks: int, row_tokens: int, boundary: int | None
) -> list[tuple[int, ...]]:
    """As few rounds of rows as the budget allows, and then rows as even as such a number of them can be."""
    rows = cut(sizes, layout, row_tokens, boundary)
    allowed = len(rows) + -len(rows) % ranks
    low, high = 1, row_tokens
    while low < high:
        middle = (low + high) // 2
        if len(cut(sizes, layout, middle, boundary)) <= allowed:
            high = middle
        else:
            low = middle + 1
    return cut(sizes, layout, high, boundary)


def cut(sizes: Sequence[Size], layout: Layout, limit: int, boundary: int | None) -> list[tuple[int, ...]]:
    """Neighbours together while they fit."""
    rows: list[list[int]] = []
    answers = tokens = longest = 0
    for size in sizes:
        answers += size.answers
        tokens += size.tokens
        whole = (longest - 1) * answers if layout == "padded" else tokens
        crosses = boundary is not None and longest > boundary >= size.longest
        if not rows or whole > limit or crosses:
            rows.append([])
            _, longest, answers, tokens = size
        rows[-1].append(size.number)
    return [tuple(row) for row in rows]
