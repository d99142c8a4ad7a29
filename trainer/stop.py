"""Stopping on request: the worker writes one word, `cancel`, `drain` or `finish`, into the workspace's `stop` file."""

from pathlib import Path

WORDS = {"cancel": 1, "drain": 2, "finish": 3}
FINISH = WORDS["finish"]


class StopRequested(Exception):
    """Raised by all ranks at the same place, between two forwards or steps, never inside one."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def wanted(workspace: Path, rank: int) -> int:
    """0, 1 (cancel), 2 (drain) or 3 (finish); only rank 0 looks, so that the sum over ranks is what it saw."""
    if rank != 0:
        return 0
    try:
        return WORDS.get((workspace / "stop").read_text().strip(), 0)
    except FileNotFoundError:
        return 0


def heed(number: int) -> None:
    """Raises StopRequested for cancel and drain: after a reduction, on every rank alike.

    A run that is to finish goes on to its end; only its steps are over.
    """
    for word, value in WORDS.items():
        if number == value != FINISH:
            raise StopRequested(word)
