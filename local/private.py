"""What only its owner may read: written so, looked at before it is believed, and told where it was open."""

import os
import stat
from pathlib import Path

from core.contract.errors import PalateError

OTHERS_READ = 0o077
OTHERS_WRITE = 0o022


class NotOurs(PalateError):
    """A folder or file that is believed belongs to another user, or others can write to it."""

    code = "belongs_to_another_user"


def write_private(file: Path, text: str) -> None:
    """Mode 0600 from the first byte on; the name appears when the content is there."""
    partial = file.with_name(file.name + ".tmp")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    partial.replace(file)


def read_own(file: Path) -> bytes:
    """What a file of ours says, and no other's. Raises OSError, and NotOurs where somebody else may have written it."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        _refuse_others(file, found)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & OTHERS_WRITE:
            raise NotOurs(f"{file} can be written by other users, so it is not believed; `chmod 600` it, or remove it.")
        return stream.read()


def refuse_others(folder: Path) -> None:
    """Raises NotOurs for a folder of another user, and for one in which others can put files."""
    found = folder.stat()
    _refuse_others(folder, found)
    if found.st_mode & OTHERS_WRITE:
        raise NotOurs(f"{folder} can be written by other users, so nothing in it is believed; `chmod 700` it.")


def close(home: Path) -> list[Path]:
    """Makes the home, or takes others' rights on it and on what lies directly in it. Returns the files that others
    could read until now.

    Raises NotOurs for a home of another user: its owner could read and exchange all that we keep there.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = os.fstat(descriptor)
        _refuse_others(home, found)
        reached = bool(found.st_mode & 0o011)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    opened = []
    for path in sorted(home.iterdir()):
        inside = path.lstat()
        if inside.st_uid == os.geteuid() and inside.st_mode & OTHERS_READ and not stat.S_ISLNK(inside.st_mode):
            path.chmod(stat.S_IMODE(inside.st_mode) & 0o700)
            if reached and stat.S_ISREG(inside.st_mode):
                opened.append(path)
    return opened


def _refuse_others(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise NotOurs(
            f"{path} belongs to another user (uid {found.st_uid}, this is uid {os.geteuid()}), who could read and "
            "change what is kept there; name a home of your own with --home."
        )
