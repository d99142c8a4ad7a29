"""Exact repeats, contradictions and distinct prompts, from 32 bytes a record."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

BYTES = 16


class Repeated(NamedTuple):
    """exact_duplicates: records that are there before. contradictions: those for which the opposite is there, too."""

    exact_duplicates: int
    contradictions: int
    distinct_prompts: int


class Repeats:
    """Holds two digests of 16 bytes a record; the last bit of the second says which way round its answers stand."""

    def __init__(self) -> None:
        self._prompts = bytearray()
        self._records = bytearray()

    def add(self, prompt: bytes, answers: Sequence[bytes], told: int | str) -> None:
        """`told`: 0 or 1 for a label, 0 for a pair (the better answer first), else what it says of the answers."""
        held = hashlib.blake2b(prompt, digest_size=BYTES)
        self._prompts += held.digest()
        way = 0
        if len(answers) == 2 and told == 0:
            one, other = answers
            if other < one:
                one, other, way = other, one, 1
            held.update(b"\n%b\n%b" % (one, other))
        elif len(answers) == 1:
            held.update(b"\n%b\n" % answers[0])
            way = int(told)
        else:
            held.update(b"\n".join((b"", *answers, str(told).encode())))
        digest = bytearray(held.digest())
        digest[0] = (digest[0] & 0xFE) | way
        self._records += digest

    def counts(self) -> Repeated:
        if not self._records:
            return Repeated(0, 0, 0)
        import numpy as np

        prompts = _sorted(np, self._prompts)
        distinct = int(_starts(np, prompts).sum())
        del prompts
        records = _sorted(np, self._records)
        firsts = int(_starts(np, records).sum())
        # Without the bit that says which way round, both ways of a pair stand in one group.
        way = (records[:, 0] & 1).astype(np.int64)
        starts = _starts(np, records & np.array([~np.uint64(1), ~np.uint64(0)], dtype=np.uint64))
        group = np.cumsum(starts) - 1
        size = np.bincount(group)
        turned = np.bincount(group, weights=way)
        both = (turned > 0) & (turned < size)
        return Repeated(len(records) - firsts, int(size[both].sum()), distinct)


def _sorted(np: Any, held: bytearray) -> Any:
    """Rows of two 64-bit numbers, in order, the bit of the way last: it may not part a group."""
    pairs = np.frombuffer(held, dtype="<u8").reshape(-1, 2)
    low = pairs[:, 0]
    return pairs[np.lexsort((low & np.uint64(1), low >> np.uint64(1), pairs[:, 1]))]


def _starts(np: Any, pairs: Any) -> Any:
    """Whether each row differs from the one before it."""
    starts = np.ones(len(pairs), dtype=bool)
    starts[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return starts
