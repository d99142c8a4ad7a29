"""Progress for a person at a terminal (a live bar) and for a log (a plain line at intervals)."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_SECONDS = 5.0


class Steps:
    """`with Steps(console, "Pretraining") as steps: steps.at(done, total, words)`; `total` 0 while it is unknown."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.began = self.printed = time.monotonic()
        self.last = ""
        self.first: tuple[int, float] | None = None
        self.live: Progress | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Progress(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
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
            self.console.print(self.last, soft_wrap=True)

    def at(self, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        eta = self._left(done, total, now)
        if self.live is not None:
            self.live.update(self.task, completed=done, total=total or None, words=f"{eta}{words}")
            return
        count = f" {done}/{total}" if total else ""
        line = f"  {self.title}{count} after {now - self.began:.0f} s: {eta}{words}"
        if now - self.printed >= PLAIN_SECONDS:
            self.console.print(line, soft_wrap=True)
            self.printed, self.last = now, ""
        else:
            self.last = line

    def _left(self, done: int, total: int, now: float) -> str:
        """The rate since the first step that was seen: what came before it was no step."""
        if not 0 < done < total:
            return ""
        self.first = self.first or (done, now)
        steps, seconds = done - self.first[0], now - self.first[1]
        return f"{seconds / steps * (total - done):.0f} s left, " if steps else ""
