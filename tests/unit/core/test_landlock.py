"""What a process hides of itself from others of its own user."""

import os
import signal
from pathlib import Path

import pytest

from core import landlock

NOBODY = 65_534


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def read(pid: int) -> str:
    """As another process of uid 65534, which has no capabilities."""
    reader, writer = os.pipe()
    other = os.fork()
    if not other:
        become_nobody()
        try:
            Path(f"/proc/{pid}/environ").read_bytes()
            os.write(writer, b"read")
        except OSError as error:
            os.write(writer, type(error).__name__.encode())
        os._exit(0)
    os.waitpid(other, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        return stream.read().decode()


@pytest.mark.skipif(os.getuid() != 0, reason="another user is to be had by root alone")
@pytest.mark.parametrize(("hidden", "said"), [(False, "read"), (True, "PermissionError")])
def test_who_hides_shows_its_environment_to_nobody_of_its_user(hidden: bool, said: str) -> None:
    ready, begun = os.pipe()
    pid = os.fork()
    if not pid:
        become_nobody()
        assert landlock._libc is not None
        landlock._libc.prctl(landlock.PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after an execve
        if hidden:
            landlock.hide()
        os.write(begun, b"1")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    try:
        assert read(pid) == said
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(begun)
