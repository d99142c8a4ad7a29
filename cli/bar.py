"""Bytes that move, and things that are done, shown on stderr while somebody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def moving(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with each number of bytes moved."""
    with shown(what, total, DownloadColumn(), TransferSpeedColumn()) as advance:
        yield advance


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with each number of things done."""
    with shown(what, total, MofNCompleteColumn()) as advance:
        yield advance


@contextmanager
def shown(what: str, total: int, *columns: ProgressColumn) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    every = (TextColumn("{task.description}", markup=False), BarColumn(), *columns, TimeRemainingColumn())
    with Progress(*every, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)
