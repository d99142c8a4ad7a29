"""What every part is given, and what it gives back: figures in order, or an exception that says why there are none."""

import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

GB = 1e9


class Wrong(Exception):
    """The part saw something that must not be."""


class NotHere(Exception):
    """The part needs what this machine has not; nothing was checked."""


class Asked(BaseModel):
    """`folder` is kept between the parts of one check; `devices` GPUs, or ranks on a CPU; `until` as time.monotonic."""

    size: str
    shape: str
    folder: Path
    devices: int
    memory_bytes: int
    cuda: bool
    profile: bool
    until: float

    @property
    def left(self) -> float:
        """Seconds, a moment less than after which the part is ended from without."""
        return max(1.0, self.until - time.monotonic() - 5.0)

    @property
    def tiny(self) -> bool:
        return self.size == "tiny"

    @property
    def threads(self) -> int:
        """A rank, as many as the service would give it."""
        return max(1, (os.cpu_count() or 1) // max(1, self.devices)) if self.cuda else 1

    @property
    def device(self) -> str:
        return "cuda" if self.cuda else "cpu"


@dataclass
class Seen:
    """`said`: the table's one sentence. `figures`: (what, how much) in order, printed under the part's name."""

    said: str
    figures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, value: object) -> None:
        self.figures.append((what, str(value)))

    def told(self) -> dict[str, Any]:
        return asdict(self)


class Progress:
    """A line that is written anew on a terminal; elsewhere one every few seconds."""

    def __init__(self, every: float = 10.0) -> None:
        self.terminal = sys.stdout.isatty()
        self.every = 0.5 if self.terminal else every
        self.began = time.monotonic()
        self.told_at = self.began

    def tell(self, said: str) -> None:
        now = time.monotonic()
        if now - self.told_at >= self.every:
            self.told_at = now
            line = f"   {now - self.began:4.0f} s  {said}"
            print(f"\r\033[K{line}" if self.terminal else line, end="" if self.terminal else "\n", flush=True)

    def end(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", flush=True)
