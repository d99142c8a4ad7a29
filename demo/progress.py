"""Progress for a person at a terminal (a live bar) and for a log (a plain line at intervals)."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 5.0


class Steps:
    """`with Steps(console, "Pretraining") as steps: steps.at(done, total, words)`; `total` 0 while it is unknown."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.began = self.printed = time.monotonic()
        self.last = ""
        self.live: Progress | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Progress(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[words]}"),
                console=self.console,
                transient=True,
            )
            self.live.start()
            self.task = self.live.add_task(self.title, total=None, words="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()
        elif kind is None and self.last:
            self.console.print(self.last)

    def at(self, done: int, total: int, words: str) -> None:
        if self.live is not None:
            self.live.update(self.task, completed=done, total=total or None, words=words)
            return
        now = time.monotonic()
        elapsed = now - self.began
        eta = f", about {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
        count = f" {done}/{total}" if total else ""
        line = f"  {self.title}{count} after {elapsed:.0f} s{eta}{': ' if words else ''}{words}"
        if now - self.printed >= PLAIN_SECONDS:
            self.console.print(line)
            self.printed, self.last = now, ""
        else:
            self.last = line
