"""The warm trainer listens at a name in the file system, which Landlock does not close: it asks who asks."""

import os
import socket
from pathlib import Path

import pytest

from core import warm
from trainer.warm import Server, take


@pytest.mark.parametrize("shown", ["its lock", "another file", "a path only"])
def test_only_who_can_open_its_lock_may_ask(tmp_path: Path, shown: str) -> None:
    """A trainer that was taken over has the same user and reaches the socket; the lock it cannot open to be read."""
    server = Server(tmp_path / "s", "code", 1, 1.0)
    lock, other = tmp_path / "s.lock", tmp_path / "other"
    for path in (lock, other):
        path.touch()
    flags = os.O_PATH if shown == "a path only" else os.O_RDONLY
    theirs, ours = socket.socketpair()
    with theirs, ours:
        opened = os.open(other if shown == "another file" else lock, flags)
        warm.send(theirs, {"spec": "s", "ranks": 1, "environment": {}}, opened, opened)
        os.close(opened)
        asked, descriptors = take(ours)
        objection = server._objection(ours, asked, descriptors)
        for each in descriptors:
            os.close(each)
    # The code is not this one's either: that is what is objected to when the asker may ask.
    assert objection == ("its code has changed" if shown == "its lock" else "the asker cannot open what the worker can")


def test_who_shows_nothing_is_not_understood() -> None:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        warm.say(theirs, {"spec": "s", "ranks": 1, "environment": {}})
        with pytest.raises(ValueError, match="not a request"):
            take(ours)
