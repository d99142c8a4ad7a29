"""Named places in the gaps between durable actions, where a test kills the process that comes by.

A name is the place in the code: `worker.publisher:commit_resume_point:committed`. PALATE_FAILPOINTS names a folder:
each name that is passed lies there as a file, and a file `NAME#2` kills the second who passes, once.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("PALATE_FAILPOINTS")
P = ParamSpec("P")
T = TypeVar("T")


def passed(frame: FrameType | None, point: str) -> None:
    """`frame`: who made the durable call. Callers look at FOLDER first: not armed, it costs one comparison."""
    if FOLDER is None or frame is None:
        return
    place = Path(frame.f_code.co_filename).relative_to(ROOT).with_suffix("")
    # A lambda or a comprehension is its function's.
    function = frame.f_code.co_qualname.partition(".<locals>.<")[0]
    name = f"{'.'.join(place.parts)}:{function}:{point}"
    folder = Path(FOLDER)
    (folder / name).touch()
    for token in folder.glob(f"{name}#[1-9]*"):
        left = int(token.name.rpartition("#")[2]) - 1
        try:
            token.rename(folder / (f"{name}#{left}" if left else f"{name}#killed"))
        except FileNotFoundError:
            continue  # another process was quicker: the kill is its own
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)


def caller(depth: int) -> FrameType | None:
    """The frame so far above the one that asks; None while nothing is armed."""
    return None if FOLDER is None else sys._getframe(depth + 1)


def durable(write: Callable[P, T]) -> Callable[P, T]:
    """For what changes the store or the disk: when it is done, who called it passes a point of its name."""

    @wraps(write)
    def done(*arguments: P.args, **named: P.kwargs) -> T:
        result = write(*arguments, **named)
        passed(caller(1), write.__name__)
        return result

    return done
