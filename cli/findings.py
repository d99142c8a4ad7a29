"""The report of a data file in a terminal: verdict, what to do first, findings, bad lines."""

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from core.contract.finding import Finding
from core.contract.preference import Kind
from preferences.report import Counts, LineError, Report
from preferences.tally import printable
from preferences.verdict import nouns

SHOWN = 10
EXCERPT = 60
STYLE = {"pass": "bold green", "warn": "bold yellow", "block": "bold red", "info": "dim"}


def show(report: Report) -> None:
    """Of a file that could be read."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(f"[bold]{escape(printable(report.file or ''))}[/]  {report.format or 'no format found'}", end="")
    console.print(", raw text" if report.raw_text else "", end="")
    console.print(f", {report.container}" if report.container else "")
    if report.counts.records:
        console.print(_counts(report))
    if report.mapping:
        told = ", ".join(f"{name} <- {path}" for name, path in report.mapping.items())
        console.print(f"read from: {escape(printable(told))}")
    if report.errors:
        console.print(_errors(report))
    if report.checks:
        console.print(_findings(report.checks))
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {warning.code} ({warning.count:,}): {escape(printable(warning.message))}")
    _verdict(report, console)
    if report.error:
        console.print(f"[bold red]Not usable.[/] {report.error.code}: {escape(printable(report.error.message))}")
    else:
        console.print(f"[bold green]Usable.[/] {escape(report.status_details or '')}")


def _verdict(report: Report, console: Console) -> None:
    found = report.verdict
    if found is None or report.error:
        return
    for number, action in enumerate(found.top_actions, 1):
        console.print(f"{number}. {escape(printable(action))}")
    settings = found.recommended.model_dump(exclude={"why"}, exclude_none=True)
    if settings:
        told = ", ".join(f"{name} {value}" for name, value in settings.items())
        console.print(f"[bold]recommended[/] {escape(told)} (what a job leaves at auto takes it)")
    console.print(f"[{STYLE[found.gate]}]Gate: {found.gate}.[/] Score {found.score} of 100.", end="")
    blocks = [each.code for each in report.checks if each.severity == "block"]
    console.print(f" A job is refused unless it accepts {', '.join(blocks)} (palate.accept)." if blocks else "")


def _findings(found: list[Finding]) -> Table:
    """Those that warn or block; of the others how many there are."""
    loud = [each for each in found if each.severity != "info"]
    quiet = len(found) - len(loud)
    title = f"Findings: {len(loud)}" + (f", and {quiet} checks with nothing to mend" if quiet else "")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    in_array = any(example.element is not None for each in loud for example in each.examples)
    for column in ("severity", "code", "value", "limit", "records", "elements" if in_array else "lines"):
        table.add_column(column, justify="right" if column in ("value", "limit", "records") else "left")
    table.show_header = bool(loud)
    for each in loud:
        named = list(dict.fromkeys(example.place.number for example in each.examples))
        lines = ", ".join(named[:5]) + ("…" if len(named) > 5 else "")
        table.add_row(
            Text(each.severity, STYLE[each.severity]),
            each.code,
            "" if each.value is None else amount(each.value, each.unit),
            "" if each.threshold is None else amount(each.threshold, each.unit),
            f"{each.count:,}" if each.count else "",
            Text(lines),
        )
    return table


def amount(value: float, unit: str) -> str:
    if unit.startswith(("share", "P(")):
        return f"{value:.2%}" if 0 < value < 0.001 else f"{value:.1%}"
    return f"{value:.4g}"


def _counts(report: Report) -> Table:
    counts, kind = report.counts, report.kind or "pair"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("records", f"{counts.records:,}", f"{counts.bad:,} malformed" if counts.bad else "")
    table.add_row(nouns(kind, counts), f"{counts.useless + counts.usable:,}", f"{counts.usable:,} usable")
    for name, count, whole in _shares(counts, kind):
        if whole:
            table.add_row(name, f"{count:,}", f"{count / whole:.1%}")
    if report.columns:
        table.add_row("with", Text(", ".join(report.columns)))
    return table


def _shares(counts: Counts, kind: Kind) -> list[tuple[str, int, int]]:
    """Name, number, and of how many."""
    turns = ("several turns", counts.multi_turn, counts.useless + counts.usable)
    if kind == "unpaired":
        return [
            ("wanted", counts.desirable, counts.unpaired),
            ("not wanted", counts.undesirable, counts.unpaired),
            turns,
        ]
    if kind == "ranking":
        compared = counts.comparisons + counts.ties
        return [("comparisons", counts.comparisons, compared), ("ties", counts.ties, compared), turns]
    return [
        ("ties", counts.ties, counts.ties and counts.pairs + counts.ties),
        ("chosen longer", counts.chosen_longer, counts.pairs),
        ("same length", counts.same_length, counts.pairs),
        turns,
        ("identical answers", counts.identical_pairs, counts.pairs),
        ("empty answers", counts.empty_chosen + counts.empty_rejected, counts.pairs),
    ]


def _errors(report: Report) -> Table:
    total = sum(report.errors_by_code.values())
    by_code = ", ".join(f"{count:,} {code}" for code, count in report.errors_by_code.items())
    title = f"Left out: {total:,} ({by_code})" + (f", the first {SHOWN}:" if total > SHOWN else ":")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("line", "column", "code", "what, what to do, and the place"):
        table.add_column(column, justify="right" if column in ("line", "column") else "left", overflow="fold")
    hinted: set[str] = set()
    for error in report.errors[:SHOWN]:
        column = "" if error.column is None else str(error.column)
        table.add_row(str(error.line), column, error.code, _told(error, with_hint=error.code not in hinted))
        hinted.add(error.code)
    return table


def _told(error: LineError, *, with_hint: bool) -> Text:
    """The hint once a code, not once a line."""
    where = f"{printable(error.path)}: " if error.path else ""
    hint = ("\nhint: " + error.hint, "cyan") if with_hint else ""
    return Text.assemble(where + error.message, hint, "\n", (error.excerpt[:EXCERPT], "dim"))
