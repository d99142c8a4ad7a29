"""To the disk: what a name says after a power cut is what was written under it."""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """A file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_names(folder: Path) -> None:
    """The names in a folder and in those below it."""
    for path in folder.rglob("*"):
        if path.is_dir():
            flush(path)
    flush(folder)


def flush_all(path: Path) -> None:
    """A file, or a folder with all that is in it."""
    for file in path.rglob("*"):
        if file.is_file():
            flush(file)
    if path.is_dir():
        flush_names(path)
    else:
        flush(path)
