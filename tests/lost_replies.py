"""Postgres behind a proxy that lets a COMMIT through and cuts its answer: done, and nobody was told."""

import threading
from dataclasses import dataclass, field

from tests.proxy import Cut, Link, Proxy

# A length of four bytes, then a code: what comes before the messages that begin with a letter.
START, ENCRYPTED = 8, (80877103, 80877104)


@dataclass
class Loss:
    """The next COMMIT of a transaction that said all of `words` loses its answer; then `happened` is set.

    `alone`: of one that said nothing else.
    """

    words: tuple[bytes, ...]
    alone: bool
    happened: threading.Event = field(default_factory=threading.Event)

    def fits(self, said: list[bytes]) -> bool:
        return all(word in b"\n".join(said) for word in self.words) and (not self.alone or len(said) == len(self.words))


class LostReplies(Proxy):
    def __init__(self, url: str) -> None:
        super().__init__(url, lambda: Session(self))
        self.losses: list[Loss] = []

    def lose(self, *words: str, alone: bool = False) -> Loss:
        loss = Loss(tuple(word.encode() for word in words), alone)
        self.losses.append(loss)
        return loss


class Session(Link):
    """Follows one connection of the frontend protocol: simple queries, prepared statements and what binds them."""

    def __init__(self, proxy: LostReplies) -> None:
        self._proxy = proxy
        self._rest = b""
        self._begun = False
        self._statements: dict[bytes, bytes] = {}
        self._said: list[bytes] = []
        self._loss: Loss | None = None

    def sent(self, data: bytes) -> bytes:
        self._rest += data
        while self._take():
            pass
        return data

    def answered(self, data: bytes) -> bytes:
        if self._loss is not None:
            self._loss.happened.set()
            raise Cut
        return data

    def _take(self) -> bool:
        """One message, if it is there in whole."""
        letter = 1 if self._begun else 0
        if len(self._rest) < letter + 4:
            return False
        size = letter + int.from_bytes(self._rest[letter : letter + 4], "big")
        if len(self._rest) < size:
            return False
        message, self._rest = self._rest[:size], self._rest[size:]
        if not self._begun:
            self._begun = int.from_bytes(message[4:8], "big") not in ENCRYPTED
        else:
            self._hear(message[:1], message[5:])
        return True

    def _hear(self, kind: bytes, body: bytes) -> None:
        if kind == b"Q":
            self._say(body.rstrip(b"\0"))
        elif kind == b"P":
            name, sql, _ = body.split(b"\0", 2)
            self._statements[name] = sql
        elif kind == b"B":
            self._say(self._statements[body.split(b"\0", 2)[1]])

    def _say(self, sql: bytes) -> None:
        if sql.startswith(b"BEGIN"):
            self._said = []
        elif sql != b"COMMIT":
            self._said.append(sql)
        elif fitting := [loss for loss in self._proxy.losses if loss.fits(self._said)]:
            self._loss = fitting[0]
            self._proxy.losses.remove(self._loss)
