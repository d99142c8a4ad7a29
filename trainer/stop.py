"""Stopping on request: the worker writes one word, `cancel` or `drain`, into the workspace's `stop` file."""

from pathlib import Path

WORDS = {"cancel": 1, "drain": 2}


class StopRequested(Exception):
    """Raised by all ranks at the same place, between two forwards or steps, never inside one."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def wanted(workspace: Path, rank: int) -> int:
    """0, 1 (cancel) or 2 (drain); only rank 0 looks, so that the sum over ranks is what it saw."""
    if rank != 0:
        return 0
    try:
        return WORDS.get((workspace / "stop").read_text().strip(), 0)
    except FileNotFoundError:
        return 0


def heed(number: int) -> None:
    """Raises StopRequested for a number that is not 0: after a reduction, on every rank alike."""
    for word, value in WORDS.items():
        if number == value:
            raise StopRequested(word)
