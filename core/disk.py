"""To the disk: what a name says after a power cut is what was written under it; and a disk that is full."""

import errno
import os
import shutil
from pathlib import Path

from core.contract.failpoints import durable

# Of the disk, of what a user may fill of it, of what a process may write.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_LINKS = {errno.EPERM, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


def is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in FULL


def free(path: Path) -> int:
    """Bytes that a process without special rights may still write where `path` is, or will be."""
    while not path.exists():
        path = path.parent
    there = os.statvfs(path)
    return there.f_bavail * there.f_frsize


@durable
def rename(partial: Path, path: Path) -> None:
    """From one moment to the next `path` is what was written as `partial`, whole."""
    partial.replace(path)


def link_all(folder: Path, copy: Path) -> None:
    """The files of `folder` under second names in `copy`, which outlive the first ones: without another byte, or copied
    where the file system knows no second names.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            second = copy / path.relative_to(folder)
            second.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, second)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                shutil.copyfile(path, second)


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
