"""Charts as inline SVG: text in, text out. Colours are classes that the page's style sheet fills, light and dark."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from preferences.page.words import number, text

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 12, 30
STEPS = 32
BIN = math.log(17 / 16)
Bins = Sequence[tuple[int, int]]


def lengths(title: str, sides: Mapping[str, Bins], medians: Mapping[str, int], tones: Mapping[str, str]) -> str:
    """Outlines over a logarithmic axis of characters: how often each length is, as a share of its side's texts.

    sides: by name, (upper bound, texts of that length), as a report holds them; medians: vertical lines.
    """
    bounds = [bound for bins in sides.values() for bound, count in bins if count and bound > 0]
    if not bounds:
        return ""
    low, high = math.log(min(bounds) * 0.8), math.log(max(bounds) * 1.2)
    edges = [low + (high - low) * step / STEPS for step in range(STEPS + 1)]
    shares = {name: spread(bins, edges) for name, bins in sides.items()}
    top = max(max(each, default=0.0) for each in shares.values()) or 1.0

    def across(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    floor = HEIGHT - BOTTOM
    parts = []
    for tick in ticks(math.exp(low), math.exp(high)):
        x = across(math.log(tick))
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{floor}"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{number(tick)}</text>')
    for name, each in shares.items():
        path = [f"M{across(edges[0]):.1f} {floor}"]
        for share, (start, end) in zip(each, pairwise(edges), strict=True):
            y = floor - share / top * (floor - TOP)
            path.append(f"L{across(start):.1f} {y:.1f}L{across(end):.1f} {y:.1f}")
        path.append(f"L{across(edges[-1]):.1f} {floor}Z")
        parts.append(f'<path class="area {tones[name]}" d="{"".join(path)}"/>')
    for name, median in medians.items():
        if name in shares and median > 0:
            x = across(min(high, max(low, math.log(median))))
            parts.append(f'<path class="median {tones[name]}" d="M{x:.1f} {TOP}V{floor}"/>')
    about = ", ".join(f"{name}: median {number(median)} characters" for name, median in medians.items())
    return svg(f"{title}. {about}", WIDTH, HEIGHT, parts)


def spread(bins: Bins, edges: Sequence[float]) -> list[float]:
    """The share of all that is in each step; a bin is spread evenly over its sixteenth below the bound."""
    total = sum(count for _, count in bins)
    found = [0.0] * (len(edges) - 1)
    if not total:
        return found
    width = edges[1] - edges[0]
    for bound, count in bins:
        if bound <= 0:
            continue
        end = math.log(bound)
        start = end - BIN
        first = max(0, int((start - edges[0]) / width))
        for place in range(first, min(len(found) - 1, int((end - edges[0]) / width)) + 1):
            inside = min(end, edges[place + 1]) - max(start, edges[place])
            found[place] += max(0.0, inside) / BIN * count / total
    return found


def ticks(low: float, high: float) -> list[int]:
    """Round numbers 1, 2, 5 of each power of ten, at most eight of them."""
    powers = range(math.floor(math.log10(max(1.0, low))), math.ceil(math.log10(high)) + 1)
    found = [m * 10**power for power in powers for m in (1, 2, 5) if low <= m * 10**power <= high]
    return found if len(found) <= 8 else [each for each in found if str(each)[0] == "1"]


def bars(title: str, rows: Sequence[tuple[str, float, str, str]]) -> str:
    """One bar a row: (name, share of the whole from 0 to 1, tone, text behind it)."""
    row, left = 26, 230
    parts = []
    for place, (name, share, tone, told) in enumerate(rows):
        y = place * row
        long = max(2.0, min(1.0, share) * (WIDTH - left - 110)) if share > 0 else 0.0
        parts.append(f'<text class="name" x="0" y="{y + 17}">{text(name[:34])}</text>')
        parts.append(f'<rect class="bar {tone}" x="{left}" y="{y + 5}" width="{long:.1f}" height="15" rx="3"/>')
        parts.append(f'<text x="{left + long + 8:.1f}" y="{y + 17}">{text(told)}</text>')
    about = "; ".join(f"{name}: {told}" for name, _, _, told in rows)
    return svg(f"{title}. {about}", WIDTH, len(rows) * row + 2, parts)


def svg(about: str, width: int, height: int, parts: Sequence[str]) -> str:
    """`about` is what a screen reader says."""
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(about)}">'
    return head + "".join(parts) + "</svg>"
