"""The numbers that keep reading bounded, whatever a file holds."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes; `ratio` is unpacked over packed bytes and is looked at only above `ratio_from` unpacked bytes."""

    line: int = 16 * MIB
    unpacked: int = 32 << 30
    ratio: int = 200
    ratio_from: int = 16 * MIB
    depth: int = 32
    sample_rows: int = 200
    sample: int = 32 * MIB
    errors: int = 10_000
    excerpt: int = 200
    example_lines: int = 20
    min_pairs: int = 10
    few_pairs: int = 100
    useless_fraction: float = 0.05


DEFAULT = Limits()
