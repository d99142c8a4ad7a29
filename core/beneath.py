"""Files below a folder that another process fills: no name leads out of it, and no link in it is followed."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.contract.errors import PalateError

LONGEST = 1_024
# As openat(2) says that a part of the path is a link, or that the last one is a socket.
LINKS = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotBeneath(PalateError):
    """A name that would lead out of its folder, a link on the way, or no plain file at its end."""

    code = "not_beneath"


def relative(name: str) -> str:
    """The name itself. Raises ValueError but for parts with `/` between them, none empty, `.` or `..`."""
    if len(name.encode(errors="surrogatepass")) > LONGEST:
        raise ValueError(f"a path of at most {LONGEST} bytes is wanted")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("a path below its folder is wanted, without empty parts, `.` or `..`")
    if "\\" in name or any(ord(letter) < 32 or 127 <= ord(letter) < 160 or _half(letter) for letter in name):
        raise ValueError("a path without backslashes, control characters and halves of characters is wanted")
    return name


def _half(letter: str) -> bool:
    return 0xD800 <= ord(letter) < 0xE000


@contextmanager
def folder(root: Path, name: str) -> Iterator[Path]:
    """The folder `name` below `root`, held open: it stays this one, whatever is renamed meanwhile.

    Raises NotBeneath, FileNotFoundError.
    """
    descriptor = _walk(root, relative(name).split("/"))
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def open_file(root: Path, name: str) -> BinaryIO:
    """To read it. `root` itself is trusted. Raises NotBeneath, FileNotFoundError."""
    *parents, last = relative(name).split("/")
    within = _walk(root, parents)
    try:
        with _told(root, name):
            # Not to wait for who writes into a pipe.
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
    finally:
        os.close(within)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotBeneath(f"{name} is no plain file.")
    return os.fdopen(descriptor, "rb")


def read(root: Path, name: str, limit: int) -> bytes:
    """All of a file of at most `limit` bytes. Raises NotBeneath, FileNotFoundError."""
    with open_file(root, name) as stream:
        found = stream.read(limit + 1)
    if len(found) > limit:
        raise NotBeneath(f"{name} is larger than {limit} bytes.")
    return found


def tail(root: Path, name: str, size: int) -> bytes:
    """Its last `size` bytes. Raises NotBeneath, FileNotFoundError."""
    with open_file(root, name) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read(size)


def partial(path: Path, text: str) -> Path:
    """A new file beside `path`, to be renamed to it; what lies in its place, a link perhaps, goes."""
    partial = path.with_suffix(".tmp")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    return partial


def remove(root: Path, name: str) -> None:
    """The folder and all in it; where a link stands in its place or on the way, nothing."""
    *parents, last = relative(name).split("/")
    try:
        within = _walk(root, parents)
    except (FileNotFoundError, NotBeneath):
        return
    try:
        shutil.rmtree(last, ignore_errors=True, dir_fd=within)  # it follows no links
    finally:
        os.close(within)


def _walk(root: Path, parts: list[str]) -> int:
    """The descriptor of the last one."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            with _told(root, "/".join(parts)):
                below = os.open(part, FOLDER, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


@contextmanager
def _told(root: Path, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in LINKS:
            raise NotBeneath(f"{name} leads through a link, or is no plain file.") from error
        raise
