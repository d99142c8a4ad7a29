"""Free ports of 127.0.0.1, remembered in the home, so that a reopened home keeps its addresses."""

import json
import random
import socket
from pathlib import Path

# Below the range from which kernels take the ports of outgoing connections.
FIRST, LAST = 15_000, 32_000
WORKER_OFFSET = 10_000
NAMES = (
    "postgres",
    "valkey",
    *(f"{server}{suffix}" for server in ("master", "volume", "filer", "s3", "admin") for suffix in ("", ".grpc")),
)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose(taken: set[int] | None = None) -> int:
    taken = taken or set()
    for _ in range(1_000):
        port = random.randint(FIRST, LAST)
        if port not in taken and is_free(port):
            return port
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")


def load(file: Path) -> dict[str, int]:
    """The ports of the last time where all of them are still free, else fresh ones."""
    ports = read(file)
    if set(ports) != set(NAMES) or not all(is_free(port) for port in ports.values()):
        ports = renew(file)
    return ports


def read(file: Path) -> dict[str, int]:
    """As they are written there; none where nothing usable is."""
    try:
        return {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
    except (OSError, ValueError):
        return {}


def renew(file: Path) -> dict[str, int]:
    ports: dict[str, int] = {}
    for name in NAMES:
        ports[name] = choose(set(ports.values()))
    # weed's own worker looks for the admin server here, whatever -admin.port.grpc says.
    while not is_free(ports["admin"] + WORKER_OFFSET):
        ports["admin"] = choose(set(ports.values()))
    ports["admin.grpc"] = ports["admin"] + WORKER_OFFSET
    partial = file.with_suffix(".tmp")
    partial.write_text(json.dumps(ports))
    partial.replace(file)
    return ports
