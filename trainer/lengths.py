"""How long the examples are, in tokens."""

import math
from collections import Counter
from collections.abc import Sequence

from core.contract.run_spec import Lengths
from trainer.data import Example


def lengths(pairs: Sequence[Example]) -> dict[str, Lengths]:
    """Tokens of prompt, answers, and pair (prompt + longer answer)."""
    if not pairs:
        return {}
    return {
        "prompt": spread([pair.prefix for pair in pairs]),
        "chosen": spread([len(pair.answers[0].ids) - pair.prefix for pair in pairs]),
        "rejected": spread([len(pair.answers[-1].ids) - pair.prefix for pair in pairs]),
        "pair": spread([pair.longest for pair in pairs]),
    }


def spread(values: list[int]) -> Lengths:
    ordered = sorted(values)
    return Lengths(median=nearest_rank(ordered, 0.5), p95=nearest_rank(ordered, 0.95), max=ordered[-1])


def nearest_rank(ordered: list[int], share: float) -> int:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def histogram(longest: list[int]) -> list[tuple[int, int]]:
    """(upper bound, pairs) in steps of 1/8 of a power of two; empty ones left out."""
    counts: Counter[int] = Counter()
    for value in longest:
        width = max(1, 1 << max(0, value.bit_length() - 4))
        counts[-(-value // width) * width] += 1
    return sorted(counts.items())
