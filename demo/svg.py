"""Charts as inline SVG: text in, text out. Colours are classes that the page's style sheet fills, light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 82, 14, 34
LABEL_GAP = 15.0
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """`name` stands at the line's end; `tone` is a colour class."""

    name: str
    tone: str
    points: Points


@dataclass(frozen=True)
class Mark:
    """A horizontal line to compare with, e.g. the start, or chance."""

    name: str
    value: float


def curves(title: str, about: str, lines: Sequence[Line], marks: Sequence[Mark] = (), percent: bool = False) -> str:
    """Curves over the steps, each labelled where it ends; `about` is what a screen reader says."""
    lines = [line for line in lines if line.points]
    if not lines:
        return '<p class="none">No figures.</p>'
    steps = [x for line in lines for x, _ in line.points]
    values = [y for line in lines for _, y in line.points] + [mark.value for mark in marks]
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0) if percent else nice_ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    first, last = min(steps), max(steps)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / ((last - first) or 1)
        up = (y - low) / ((high - low) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in ticks:
        y = at(first, tick)[1]
        shown = f"{tick:.0%}" if percent else f"{tick:g}"
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_minus(shown)}</text>')
    for x in dict.fromkeys((first, round((first + last) / 2), last)):
        parts.append(
            f'<text class="tick" x="{at(x, low)[0]:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>'
        )
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT + 16}" y="{HEIGHT - BOTTOM + 18}">step</text>')
    wanted = []
    for mark in marks:
        x, y = at(last, mark.value)
        parts.append(f'<path class="mark" d="M{LEFT} {y:.1f}H{x:.1f}"/>')
        wanted.append((y, "faint", mark.name))
    for line in lines:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in line.points))
        x, y = at(*line.points[-1])
        parts.append(f'<path class="line {line.tone}" d="M{path}"/>')
        parts.append(f'<circle class="dot {line.tone}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        wanted.append((y, line.tone, line.name))
    for y, tone, name in _apart(wanted):
        parts.append(f'<text class="label {tone}" x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{escape(name)}</text>')
    return _svg(title, about, WIDTH, HEIGHT, parts)


def bars(title: str, about: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, float]]]]) -> str:
    """One stacked bar a row: (row's name, [(tone, text in the part, share of the whole)]); shares sum to 1 at most."""
    row_height, bar_height, left, width = 70, 32, 0, 600
    parts = []
    for index, (name, shares) in enumerate(rows):
        y, x = index * row_height + 26, float(left)
        parts.append(f'<text class="row" x="{left}" y="{y - 9}">{escape(name)}</text>')
        parts.append(f'<rect class="track" x="{left}" y="{y}" width="{width - left}" height="{bar_height}" rx="5"/>')
        for tone, text, share in shares:
            if share <= 0:
                continue
            long = share * (width - left)
            parts.append(
                f'<rect class="fill {tone}" x="{x:.1f}" y="{y}" width="{max(long - 2, 1):.1f}" '
                f'height="{bar_height}" rx="5"/>'
            )
            if long > 11 * len(text) + 8:
                parts.append(
                    f'<text class="inside {tone}" x="{x + long / 2:.1f}" y="{y + bar_height / 2 + 7}" '
                    f'text-anchor="middle">{escape(text)}</text>'
                )
            x += long
    return _svg(title, about, width, len(rows) * row_height - 8, parts)


def nice_ticks(low: float, high: float, wanted: int = 4) -> tuple[float, ...]:
    """Round numbers that hold low..high, about `wanted` steps apart."""
    span = (high - low) or abs(high) or 1.0
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    start, end = math.floor(low / step), math.ceil(high / step)
    return tuple(round(n * step, 10) for n in range(start, end + 1))


def _apart(labels: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels moved down or up just enough not to overlap, inside the plot."""
    placed: list[tuple[float, str, str]] = []
    for y, tone, name in sorted(labels):
        y = max(y, placed[-1][0] + LABEL_GAP) if placed else y
        placed.append((y, tone, name))
    floor = float(HEIGHT - BOTTOM)
    for index in reversed(range(len(placed))):
        y, tone, name = placed[index]
        placed[index] = (min(y, floor), tone, name)
        floor = placed[index][0] - LABEL_GAP
    return placed


def _minus(number: str) -> str:
    return number.replace("-", "−")


def _svg(title: str, about: str, width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(f"{title}. {about}")}">'
    return head + "".join(parts) + "</svg>"
