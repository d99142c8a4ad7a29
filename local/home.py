"""The folder of one `palate up`: its lock, what it remembers between two starts, and where it answers."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, SecretStr, ValidationError

from core import ids
from core.contract.errors import NotFound, PalateError
from local import ports, private
from local.private import write_private

KEY_FILES = ("secrets.json", "up.json", "connection.json")


class HomeInUse(PalateError):
    """Another `palate up` holds the home, or its port is taken."""

    code = "home_in_use"


class Connection(BaseModel):
    """connection.json: there while the service answers, read by the command line and by scripts."""

    base_url: str
    api_key: SecretStr


class Memory(BaseModel):
    """What a home keeps: `port` of the API, `node` as its attempts name it, the `api_key` of project `default`."""

    port: int = 0
    node: str = ""
    api_key: str = ""


class Home:
    def __init__(self, path: Path) -> None:
        """`seen`: once it is locked, the files with keys that others could read until then."""
        self.path = path.absolute()
        self.seen: list[Path] = []
        self.connection = self.path / "connection.json"
        self._memory = self.path / "up.json"
        self._lock = self.path / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held until this process ends, however it ends: children do not inherit it. Raises NotOurs, HomeInUse."""
        self.seen = [file for file in private.close(self.path) if file.name in KEY_FILES]
        with self._lock.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                raise HomeInUse(f"Palate runs in {self.path} already (process {handle.read().strip()}).") from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    @property
    def is_running(self) -> bool:
        """Raises NotOurs."""
        try:
            private.refuse_others(self.path)
            with self._lock.open() as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def recall(self) -> Memory:
        try:
            memory = Memory.model_validate_json(private.read_own(self._memory))
        except (OSError, ValidationError):
            memory = Memory()
        if not memory.node:
            memory.node = f"{socket.gethostname().partition('.')[0]}-{ids.new('', 6)}"
        return memory

    def remember(self, memory: Memory) -> None:
        write_private(self._memory, memory.model_dump_json())

    def connect(self, connection: Connection) -> None:
        shown = {"base_url": connection.base_url, "api_key": connection.api_key.get_secret_value()}
        write_private(self.connection, json.dumps(shown))

    def disconnect(self) -> None:
        self.connection.unlink(missing_ok=True)

    def connection_of(self) -> Connection:
        """Where the service of this home answers; NotFound says how to start it, NotOurs that another wrote it."""
        try:
            private.refuse_others(self.path)
            return Connection.model_validate_json(private.read_own(self.connection))
        except (OSError, ValidationError):
            raise NotFound(f"Palate does not run in {self.path}; start it with `palate up`.") from None


def choose_port(asked: int, remembered: int, host: str) -> int:
    """The asked one; with 0 that of the last time if it is still free, else a free one."""
    if asked:
        if not ports.is_free(asked, host):
            raise HomeInUse(f"Port {asked} of {host} is taken; name another with --port, or 0 for any that is free.")
        return asked
    return remembered if remembered and ports.is_free(remembered, host) else ports.choose()
