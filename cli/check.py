"""`palate check FILE`: what the service would say about a preference file, offline."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from core.contract.errors import BadInput
from core.contract.preference import Kind
from preferences.check import OnError, check_file
from preferences.mapping import from_words
from preferences.report import Counts, FileError, Report
from preferences.tally import printable
from preferences.unpack import Progress as Advance
from preferences.verdict import NOUNS

USABLE, NOT_USABLE, UNREADABLE = 0, 1, 2
PROGRESS_FROM = 20 << 20
SHOWN = 10
EXCERPT = 60


def run(
    file: Path,
    as_json: bool,
    *,
    format: str | None = None,
    mapping: Sequence[str] | None = None,
    on_error: OnError = "fail",
    max_bad_fraction: float = 0.0,
) -> int:
    """Prints the report; 0 the file may be used, 1 it may not, 2 it could not be read at all."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Data holds every script; a terminal that cannot show it gets escapes instead of a failure.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _progress(file) as advance:
            report = check_file(
                file,
                format=format,
                mapping=from_words(mapping) if mapping else None,
                on_error=on_error,
                max_bad_fraction=max_bad_fraction,
                progress=advance,
            )
        code = USABLE if report.usable else NOT_USABLE
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        report = _unread(file, "file_unreadable", f"{printable(str(file))} cannot be read: {reason}.")
        code = UNREADABLE
    except BadInput as error:
        report = _unread(file, error.code, error.message)
        code = UNREADABLE
    except MemoryError:
        report = _unread(file, "file_unreadable", "There is not enough memory to read the longest record.")
        code = UNREADABLE
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        _show(report, code)
    return code


def _unread(file: Path, code: str, message: str) -> Report:
    return Report(file=printable(file.name), error=FileError(code=code, message=message))


@contextmanager
def _progress(file: Path) -> Iterator[Advance | None]:
    """A bar on stderr while somebody watches a large file."""
    size = file.stat().st_size
    if size < PROGRESS_FROM or not sys.stderr.isatty():
        yield None
        return
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=size)
        yield lambda read: bar.advance(task, read)


def _show(report: Report, code: int) -> None:
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if code == UNREADABLE:
        console.print(f"[bold red]Not read.[/] {escape(report.error.message if report.error else '')}")
        return
    console.print(f"[bold]{escape(printable(report.file or ''))}[/]  {report.format or 'no format found'}", end="")
    console.print(f", {report.container}" if report.container else "")
    if report.counts.records:
        console.print(_counts(report))
    if report.errors:
        console.print(_errors(report))
        for error_code, hint in _hints(report).items():
            console.print(f"[cyan]hint[/] {error_code}: {escape(hint)}")
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {warning.code} ({warning.count:,}): {escape(printable(warning.message))}")
    if report.error:
        console.print(f"[bold red]Not usable.[/] {report.error.code}: {escape(printable(report.error.message))}")
    else:
        console.print(f"[bold green]Usable.[/] {escape(report.status_details or '')}")


def _counts(report: Report) -> Table:
    counts, kind = report.counts, report.kind or "pair"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("records", f"{counts.records:,}", f"{counts.bad:,} malformed" if counts.bad else "")
    table.add_row(f"{NOUNS[kind]}s", f"{counts.useless + counts.usable:,}", f"{counts.usable:,} usable")
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
        ("chosen longer", counts.chosen_longer, counts.pairs),
        ("same length", counts.same_length, counts.pairs),
        turns,
        ("identical answers", counts.identical_pairs, counts.pairs),
        ("empty answers", counts.empty_chosen + counts.empty_rejected, counts.pairs),
    ]


def _errors(report: Report) -> Table:
    total = sum(report.errors_by_code.values())
    title = f"Left out: {total:,}" + (f", the first {SHOWN}:" if total > SHOWN else ":")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("line", "where", "code", "what"):
        table.add_column(column, justify="right" if column == "line" else "left", overflow="fold")
    for error in report.errors[:SHOWN]:
        place = str(error.line) if error.column is None else f"{error.line}:{error.column}"
        told = Text.assemble(error.message, "\n", (error.excerpt[:EXCERPT], "dim"))
        table.add_row(place, Text(printable(error.path)), error.code, told)
    return table


def _hints(report: Report) -> dict[str, str]:
    """Once a code, not once a line."""
    return {error.code: error.hint for error in report.errors[:SHOWN]}
