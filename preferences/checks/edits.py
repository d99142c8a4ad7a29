"""Whether two texts differ by a few edits only, in time that a bound keeps."""

from collections import Counter
from collections.abc import Sequence

# What is left after the common beginning and end may have so many characters; beyond, words are compared.
LONGEST = 4_096


def nearly(one: str, other: str, least: float) -> bool:
    """Whether 1 - edit distance / the longer length is `least` or more."""
    most = int((1 - least) * max(len(one), len(other)) + 1e-9)
    if abs(len(one) - len(other)) > most:
        return False
    ours, theirs = _middles(one, other)
    if max(len(ours), len(theirs)) <= most:
        return True
    if len(ours) <= LONGEST and len(theirs) <= LONGEST:
        return _apart(ours, theirs) <= most and distance(ours, theirs, most) <= most
    words, others = one.split(), other.split()
    most = int((1 - least) * max(len(words), len(others)) + 1e-9)
    return (
        len(words) <= LONGEST
        and len(others) <= LONGEST
        and _apart(words, others) <= most
        and distance(words, others, most) <= most
    )


def _middles(one: str, other: str) -> tuple[str, str]:
    """Both without what they begin with and what they end with alike."""
    start = _common(one, other)
    one, other = one[start:], other[start:]
    end = _common(one[::-1], other[::-1])
    return one[: len(one) - end], other[: len(other) - end]


def _common(one: str, other: str) -> int:
    """The length of the common beginning, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        size = (low + high + 1) // 2
        if one[low:size] == other[low:size]:
            low = size
        else:
            high = size - 1
    return low


def _apart(one: Sequence[str], other: Sequence[str]) -> int:
    """No edit distance is below it: what occurs here more often than there."""
    ours, theirs = Counter(one), Counter(other)
    return max((ours - theirs).total(), (theirs - ours).total())


def distance(one: Sequence[str], other: Sequence[str], most: int) -> int:
    """Levenshtein's, bit-parallel (Myers 1999, Hyyrö 2003) with whole numbers as words; beyond `most` it stops."""
    if not one:
        return len(other)
    where: dict[str, int] = {}
    for place, symbol in enumerate(one):
        where[symbol] = where.get(symbol, 0) | 1 << place
    whole, last = (1 << len(one)) - 1, 1 << len(one) - 1
    up, down, score = whole, 0, len(one)
    for left, symbol in zip(range(len(other) - 1, -1, -1), other, strict=True):
        equal = where.get(symbol, 0)
        across = (((equal & up) + up) ^ up) | equal
        more, less = down | ~(across | up) & whole, up & across
        score += (more & last > 0) - (less & last > 0)
        if score - left > most:
            return score - left
        more, less = (more << 1 | 1) & whole, less << 1 & whole
        kept = equal | down
        up, down = less | ~(kept | more) & whole, more & kept
    return score
