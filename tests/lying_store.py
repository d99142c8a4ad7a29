"""The object store behind a proxy that changes its answers: errors, bodies that end early, bits that flip."""

import re
from dataclasses import dataclass
from typing import Literal

from tests.proxy import Cut, Link, Proxy

REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1.1\r\n")
END_OF_HEAD = b"\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Lie:
    """For the next `times` requests with this method whose target holds `words`."""

    kind: Literal["error", "short", "flip"]
    method: bytes
    words: bytes
    times: int
    told: int = 0


class LyingStore(Proxy):
    def __init__(self, url: str) -> None:
        super().__init__(url, lambda: Exchange(self))
        self.lies: list[Lie] = []

    def lie(self, kind: Literal["error", "short", "flip"], words: str, *, method: str = "GET", times: int = 1) -> Lie:
        lie = Lie(kind, method.encode(), words.encode(), times)
        self.lies.append(lie)
        return lie

    def about(self, method: bytes, target: bytes) -> Lie | None:
        for lie in self.lies:
            if lie.method == method and lie.words in target and lie.told < lie.times:
                lie.told += 1
                return lie
        return None


class Exchange(Link):
    """One keep-alive connection: a request, then its answer, and no other request meanwhile."""

    def __init__(self, store: LyingStore) -> None:
        self._store = store
        self._lie: Lie | None = None
        self._in_body = False

    def sent(self, data: bytes) -> bytes:
        if found := REQUEST.match(data):
            self._lie, self._in_body = self._store.about(found[1], found[2]), False
        return data

    def answered(self, data: bytes) -> bytes:
        if self._lie is None or data.startswith(b"HTTP/1.1 100"):
            return data
        if self._lie.kind == "error":
            raise Cut(ERROR)
        at = 0 if self._in_body else data.find(END_OF_HEAD) + len(END_OF_HEAD)
        self._in_body = True
        if at == len(data):
            return data
        if self._lie.kind == "short":
            raise Cut(data[: at + (len(data) - at) // 2])
        self._lie = None
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
