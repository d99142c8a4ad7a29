"""What the ranks print: the last 64 KiB of each to Postgres every few seconds, the whole to the store at the end."""

import os
import re
import time
from collections.abc import Iterator
from typing import BinaryIO

from core import beneath
from core.db import attempts, rank_logs
from core.db.attempts import Lease
from core.db.engine import transaction
from core.objects import keys
from core.objects.store import Store
from worker.workspace import Workspace

TAIL_BYTES = 64 << 10
EVERY_SECONDS = 2.0
SECRETS = re.compile(r"(plt_[0-9a-z]+_|hf_|sk-|AKIA|ghp_)[0-9A-Za-z_\-]{8,}")


class RankLogs:
    def __init__(self, lease: Lease, space: Workspace, ranks: int) -> None:
        self._lease = lease
        self._space = space
        self._ranks = ranks
        self._seen: dict[int, int] = {}
        self._looked = 0.0

    def look(self, *, now: bool = False) -> None:
        """Writes the tails that grew, at most once in EVERY_SECONDS; raises Fenced."""
        if not now and time.monotonic() - self._looked < EVERY_SECONDS:
            return
        self._looked = time.monotonic()
        grown = {rank: tail for rank in range(self._ranks) if (tail := self._tail(rank)) is not None}
        if grown:
            with transaction() as session:
                attempts.check(session, self._lease)
                for rank, tail in grown.items():
                    rank_logs.write(session, self._lease.job_id, self._lease.epoch, rank, tail)

    def _tail(self, rank: int) -> str | None:
        try:
            opened = beneath.open_file(self._space.path, f"logs/rank-{rank}.log")
        except (FileNotFoundError, beneath.NotBeneath):
            return None
        with opened as stream:
            if (size := os.fstat(stream.fileno()).st_size) == self._seen.get(rank):
                return None
            self._seen[rank] = size
            stream.seek(max(0, size - TAIL_BYTES))
            return masked(stream.read(TAIL_BYTES).decode(errors="replace").replace("\0", ""))

    def upload(self, store: Store) -> None:
        """Raises Unavailable."""
        for rank in range(self._ranks):
            try:
                opened = beneath.open_file(self._space.path, f"logs/rank-{rank}.log")
            except (FileNotFoundError, beneath.NotBeneath):
                continue
            with opened as stream:
                lines = (masked(line.decode(errors="replace")).encode() for line in pieces(stream))
                store.put_stream(keys.log(self._lease.job_id, self._lease.epoch, rank), lines)


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Its lines; one that is longer than a tail, in pieces."""
    while line := stream.readline(TAIL_BYTES):
        yield line


def masked(text: str) -> str:
    return SECRETS.sub(lambda found: found.group(1) + "***", text)
