"""How far a measured share can be trusted."""

from math import sqrt

Z = 1.96


def interval(hits: float, of: float) -> tuple[float, float]:
    """95 % of a share, after Wilson (1927)."""
    share, spread = hits / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def differ(one: float, of_one: float, other: float, of_other: float) -> bool:
    """Whether two shares of so many are different beyond chance: their 95 % intervals do not meet."""
    low, high = interval(one * of_one, of_one)
    below, above = interval(other * of_other, of_other)
    return low > above or below > high
