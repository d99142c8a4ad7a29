"""Exact repeats, contradictions and distinct prompts, from 33 bytes a record."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

BYTES = 16


class Print(NamedTuple):
    """What a record is told apart by: its prompt, its prompt with its answers whichever is better, and which is."""

    prompt: bytes
    record: bytes
    way: int


class Repeated(NamedTuple):
    """exact_duplicates: records that are there before. contradictions: those for which the opposite is there, too."""

    exact_duplicates: int
    contradictions: int
    distinct_prompts: int


def print_of(prompt: bytes, answers: Sequence[bytes], told: int | str) -> Print:
    """`told`: 0 for a pair, the better answer first; 0 or 1 for a label; else what is said of the answers."""
    held = hashlib.blake2b(prompt, digest_size=BYTES)
    asked = held.digest()
    way = 0
    if told == 0 and len(answers) == 2:
        one, other = answers
        if other < one:
            one, other, way = other, one, 1
        held.update(b"\n%b\n%b" % (one, other))
    elif len(answers) == 1:
        held.update(b"\n%b\n" % answers[0])
        way = int(told)
    else:
        held.update(b"\n".join((b"", *answers, str(told).encode())))
    return Print(asked, held.digest(), way)


class Repeats:
    """Holds two digests of 16 bytes a record and a byte that says which way round its answers stand."""

    def __init__(self) -> None:
        self._prompts = bytearray()
        self._records = bytearray()
        self._ways = bytearray()

    def add(self, seen: Print) -> None:
        self._prompts += seen.prompt
        self._records += seen.record
        self._ways.append(seen.way)

    def counts(self) -> Repeated:
        if not self._ways:
            return Repeated(0, 0, 0)
        import numpy as np

        _, starts = _grouped(np, self._prompts)
        distinct = int(starts.sum())
        order, starts = _grouped(np, self._records)
        group = np.cumsum(starts) - 1
        size = np.bincount(group)
        turned = np.bincount(group, weights=np.frombuffer(self._ways, dtype=np.uint8)[order]).astype(np.int64)
        both = (turned > 0) & (turned < size)
        distinct_records = len(size) + int(both.sum())
        return Repeated(len(order) - distinct_records, int(size[both].sum()), distinct)


def _grouped(np: Any, held: bytearray) -> tuple[Any, Any]:
    """The order in which equal digests stand together, and where each group starts."""
    digests = np.frombuffer(held, dtype="<u8").reshape(-1, 2)
    order = np.lexsort((digests[:, 0], digests[:, 1]))
    ordered = digests[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, starts
