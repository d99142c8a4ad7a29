"""MinHash signatures (Broder 1997) of texts as sets of word 5-grams: 64 values of 8 bits, 64 bytes a record."""

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from zlib import crc32

WORDS = 5
VALUES = 64
# Eight values each: two records of Jaccard 0.85 share at least one of the eight in 93 of 100 cases, of 0.95 always.
BANDS = 8
LEAST = 0.85
# Signatures are made of so many records together, or of fewer that have so many words: some 100 bytes a word.
BATCH, BATCH_WORDS = 512, 2_000_000
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0xD6E8FEB86659FD93)

Matrix = Any


def words(text: str) -> "array[int]":
    """The words as numbers, in lower case."""
    return array("I", map(crc32, text.lower().encode(errors="surrogatepass").split()))


def signatures(records: Sequence[Sequence["array[int]"]]) -> tuple[Matrix, Matrix]:
    """Of records that consist of parts (a gram of one part is never that of another): (n, BANDS) of 64 bits, and a
    checksum of each record's grams in which only equal records agree."""
    import numpy as np
    from rensa import RMinHash

    sizes: list[int] = []
    part_of: list[int] = []
    flat = array("I")
    for parts in records:
        for place, part in enumerate(parts):
            flat.extend(part)
            # A shorter text is one gram by itself.
            missing = max(0, WORDS - len(part))
            flat.extend([0] * missing)
            sizes.append(len(part) + missing)
            part_of.append(place)
    numbers = np.frombuffer(flat, np.uint32).astype(np.uint64)
    grams = np.zeros(len(numbers) - WORDS + 1, np.uint64)
    for shift, multiplier in enumerate(_MULTIPLIERS):
        grams += (numbers[shift : shift + len(grams)] + np.uint64(1)) * np.uint64(multiplier)
    grams ^= grams >> np.uint64(29)
    lengths = np.array(sizes)
    inside = np.ones(len(numbers), bool)
    ends = np.cumsum(lengths)
    for back in range(1, WORDS):
        inside[ends - back] = False
    places = np.repeat(np.array(part_of, np.uint64), lengths)
    kept = inside[: len(grams)]
    grams = (grams + places[: len(grams)] * np.uint64(_MULTIPLIERS[1])) * np.uint64(_MULTIPLIERS[0])
    grams = (grams ^ grams >> np.uint64(32)) * np.uint64(_MULTIPLIERS[4])
    grams = grams[kept]
    edges = np.cumsum([0, *map(len, records)])
    counts = np.concatenate([[0], np.cumsum(lengths - WORDS + 1)])[edges].astype(np.uint64)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(grams, counts, VALUES, 42).to_rows()
    packed = np.array(rows, np.uint32).astype(np.uint8).view(np.uint64)
    sums = np.array([grams[start:end].sum() for start, end in pairwise(counts.astype(int).tolist())], np.uint64)
    return packed, sums


class Waiting:
    """Records whose signatures are still to be made; in bounded memory where `full` is heeded."""

    def __init__(self) -> None:
        self._records: list[Sequence[array[int]]] = []
        self._words = 0

    def add(self, parts: Sequence["array[int]"]) -> None:
        self._records.append(parts)
        self._words += sum(map(len, parts))

    @property
    def full(self) -> bool:
        return len(self._records) >= BATCH or self._words >= BATCH_WORDS

    def __bool__(self) -> bool:
        return bool(self._records)

    def take(self) -> tuple[Matrix, Matrix]:
        """The signatures of all of them; none waits any longer."""
        records, self._records, self._words = self._records, [], 0
        return signatures(records)


def likeness(one: Matrix, other: Matrix) -> Matrix:
    """The estimated Jaccard index, row by row; two unequal values agree in their 8 bits once in 256."""
    import numpy as np

    same = (one.view(np.uint8) == other.view(np.uint8)).mean(axis=-1)
    return (same - 1 / 256) / (1 - 1 / 256)
