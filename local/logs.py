"""Bounding the logs of children that run for months: they append, so a file can be cut while it is written to."""

import contextlib
import shutil
from pathlib import Path

from local.child import LOG_LIMIT_BYTES


def bound(*folders: Path, limit: int = LOG_LIMIT_BYTES) -> None:
    """A log over `limit` bytes becomes NAME.log.1, and NAME.log begins anew."""
    for folder in folders:
        for log in folder.glob("*.log"):
            with contextlib.suppress(FileNotFoundError):
                if log.stat().st_size > limit:
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                    with log.open("r+b") as stream:
                        stream.truncate(0)
