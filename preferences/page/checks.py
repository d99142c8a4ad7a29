"""What the checks found, the worst first; slices by their names."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.contract.finding import Finding, Severity
from preferences.page.words import chip, folded, number, section, table, text
from preferences.report import Report

ORDER: tuple[Severity, ...] = ("block", "warn", "info")
CHIPS = {"block": ("✕ blocks", "block"), "warn": ("! warns", "warn"), "info": ("for information", "")}
VERBS = {"block": "block", "warn": "warn", "info": "inform"}
SLICES = "slices"
MOST = 40


def section_of(report: Report) -> str:
    if not report.checks:
        return ""
    found = {severity: [each for each in report.checks if each.severity == severity] for severity in ORDER}
    loud = "".join(card(each) for severity in ("block", "warn") for each in found[severity])
    quiet = "".join(card(each) for each in found["info"] if each.code != SLICES)
    told = ", ".join(f"{len(found[name])} {VERBS[name]}" for name in ORDER)
    parts = [f'<div class="cards">{loud}</div>' if loud else ""]
    if quiet:
        title = f"{len(found['info'])} checks that found nothing to mend"
        parts.append(folded(title, f'<div class="cards">{quiet}</div>'))
    return section("What the checks found", *parts, lead=f"{len(report.checks)} checks: {told}.")


def card(found: Finding) -> str:
    words, tone = CHIPS[found.severity]
    names = f"<span><h3>{text(found.title)}</h3><code>{text(found.code)}</code></span>"
    parts = [f'<div class="head">{names}{chip(words, tone)}</div>']
    if told := measured(found):
        parts.append(f'<p class="value">{told}</p>')
    if found.action and found.severity != "info":
        parts.append(f'<p class="do">{text(found.action)}</p>')
    if found.examples:
        unit = "line" if found.examples[0].element is None else "element"
        rows = [(each.place.number, each.note) for each in found.examples]
        parts.append(folded(f"{len(rows)} of its {unit}s", table((unit, "what"), rows, right=(0,))))
    if found.detail:
        parts.append(folded("in detail", detail(found.detail)))
    return f'<article class="card {tone}">{"".join(parts)}</article>'


def measured(found: Finding) -> str:
    parts = []
    if found.value is not None:
        parts.append(f"<b>{text(amount(found.value, found.unit))}</b> {text(unit_of(found.unit))}".rstrip())
    if found.value is not None and found.threshold is not None:
        parts.append(f"limit {text(amount(found.threshold, found.unit))}")
    if found.count:
        parts.append(text(f"{found.count:,} records ({found.share:.1%})"))
    return " · ".join(parts)


def amount(value: float, unit: str) -> str:
    return number(value) if not is_share(unit) else f"{value:.2%}" if 0 < value < 0.001 else f"{value:.1%}"


def is_share(unit: str) -> bool:
    return unit.startswith(("share", "P("))


def unit_of(unit: str) -> str:
    return "" if unit == "share" else unit.removeprefix("share ")


def slices(report: Report) -> str:
    found = next((each for each in report.checks if each.code == SLICES and each.detail), None)
    if found is None:
        return ""
    tables = [detail(each) for each in found.detail.values()] if len(found.detail) == 1 else [detail(found.detail)]
    return section("Slices", *tables, lead=found.action)


def detail(value: Any, depth: int = 0) -> str:
    """Whatever a check keeps: a list of alike objects is a table, an object its names and values."""
    if isinstance(value, Mapping):
        plain = [(name, cell(each)) for name, each in value.items() if not is_nested(each)]
        deep = [(name, each) for name, each in value.items() if is_nested(each)]
        parts = [table((), plain[:MOST])] if plain else []
        if depth < 4:
            parts += [f'<p class="small">{text(name)}</p>{detail(each, depth + 1)}' for name, each in deep[:MOST]]
        return "".join(parts)
    if isinstance(value, Sequence) and not isinstance(value, str):
        rows = list(value)[:MOST]
        if rows and all(isinstance(row, Mapping) for row in rows):
            columns = list(dict.fromkeys(name for row in rows for name in row))
            figures = [place for place, name in enumerate(columns) if any(is_figure(row.get(name)) for row in rows)]
            return table(columns, [[cell(row.get(name)) for name in columns] for row in rows], right=figures)
        return f"<p>{text(', '.join(cell(row) for row in rows))}</p>"
    return f"<p>{text(cell(value))}</p>"


def is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(each, Mapping) for each in value))


def is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def cell(value: Any) -> str:
    if value is None:
        return "–"
    if is_figure(value):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(each)}" for name, each in list(value.items())[:MOST])
    if isinstance(value, list | tuple):
        return ", ".join(cell(each) for each in value[:MOST])
    return str(value)
