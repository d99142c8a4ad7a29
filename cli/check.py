"""`palate check FILE`: what the service would say about a preference file, offline."""

import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from cli import findings
from core.contract.errors import BadInput
from preferences.check import OnError, check_file
from preferences.mapping import from_words
from preferences.page.report import page
from preferences.report import FileError, Report
from preferences.samples import samples
from preferences.tally import printable
from preferences.unpack import Progress as Advance

USABLE, NOT_USABLE, UNREADABLE = 0, 1, 2
PROGRESS_FROM = 20 << 20


def run(
    file: Path,
    as_json: bool,
    *,
    validation: Path | None = None,
    html: Path | None = None,
    format: str | None = None,
    mapping: Sequence[str] | None = None,
    raw_text: bool = False,
    on_error: OnError = "fail",
    max_bad_fraction: float = 0.0,
) -> int:
    """Prints the report, and writes it as a page to `html`; 0 the file may be used, 1 it may not, 2 it could not be
    read at all (or the page not be written)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Data holds every script; a terminal that cannot show it gets escapes instead of a failure.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _progress(file) as advance, tempfile.TemporaryDirectory(prefix="palate-") as folder:
            canonical = Path(folder) / "canonical.jsonl.zst"
            with canonical.open("wb") as target:
                report = check_file(
                    file,
                    validation=validation,
                    format=format,
                    mapping=from_words(mapping) if mapping else None,
                    raw_text=raw_text,
                    on_error=on_error,
                    max_bad_fraction=max_bad_fraction,
                    canonical=target if as_json or html else None,  # a table shows no examples
                    progress=advance,
                )
            if report.usable and (as_json or html):
                report.samples = samples(canonical, report.checks, report.elements)
        code = USABLE if report.usable else NOT_USABLE
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        named = getattr(error, "filename", None) or file
        report = _unread(file, "file_unreadable", f"{printable(str(named))} cannot be read: {reason}.")
        code = UNREADABLE
    except BadInput as error:
        report = _unread(file, error.code, error.message)
        code = UNREADABLE
    except MemoryError:
        report = _unread(file, "file_unreadable", "There is not enough memory to read the longest record.")
        code = UNREADABLE
    if as_json:
        print(report.model_dump_json(indent=2))
    elif code == UNREADABLE:
        Console(highlight=False, soft_wrap=True).print(
            f"[bold red]Not read.[/] {escape(report.error.message if report.error else '')}"
        )
    else:
        findings.show(report)
    if html is not None and code != UNREADABLE and not _write(html, page(report)):
        return UNREADABLE
    return code


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"palate: {path} cannot be written: {error.strerror or error}.", file=sys.stderr)
        return False
    print(f"palate: the report is in {path}", file=sys.stderr)
    return True


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
