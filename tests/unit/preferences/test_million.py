"""A million mutated lines: no crash, memory flat, every refusal coded, nothing kept that should not be.

PALATE_FUZZ_LINES says how many.
"""

import io
import json
import os
import random
import resource
from collections.abc import Iterator

import pytest
import zstandard

from core.contract.preference import parse_record
from preferences.check import check_file
from preferences.faults import HINTS
from tests.unit.preferences.rows import BUILDERS, triple
from tests.unit.preferences.test_fuzz import usable
from tests.unit.preferences.test_tables import parquet, table

LINES = int(os.environ.get("PALATE_FUZZ_LINES", "1000000"))
PIECES = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\0",
          b"1e999", b"NaN", b'"role":"user"', b'"assistant"', b'""', b"-1", b"true", b"[]", b"{}", b"\n",
          b"\xef\xbb\xbf", "é".encode()]  # fmt: skip

TABLES = [name for name in BUILDERS if name != "ranked"]
# A table of uneven rows is none.
SELDOM = (*[0] * 12, 1)
# What a file may be refused with as a whole.
ENDS = {"container_unknown", "container_damaged", "format_unknown", "too_few_pairs", "too_many_bad_lines", "file_empty"}


class Mutated(io.RawIOBase):
    """A file whose first lines are `good`, of the others each changed so many `times`, made while it is read.

    `untouched`: lines so far that are good, byte for byte.
    """

    def __init__(self, good: list[bytes], lines: int, seed: int, times: tuple[int, ...] = (0, 1, 1, 1, 2, 4)) -> None:
        self._lines = self._make(good, lines, random.Random(seed), times)
        self._held = b""
        self.untouched = 0

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size and (line := next(self._lines, None)) is not None:
            self._held += line
        given, self._held = self._held[:size], self._held[size:]
        return given

    def _make(self, good: list[bytes], lines: int, draw: random.Random, times: tuple[int, ...]) -> Iterator[bytes]:
        self.untouched += len(good)
        yield b"\n".join(good) + b"\n"
        for _ in range(lines - len(good)):
            line, often = draw.choice(good), draw.choice(times)
            self.untouched += not often
            yield changed(line, good, draw, often) + b"\n"


def changed(whole: bytes, good: list[bytes], draw: random.Random, times: int) -> bytes:
    line = bytearray(whole)
    for _ in range(times):
        at = draw.randrange(len(line) + 1)
        way = draw.random()
        if way < 0.3 and at < len(line):
            line[at] ^= 1 << draw.randrange(8)
        elif way < 0.6:
            line[at:at] = draw.choice(PIECES)
        elif way < 0.8:
            del line[at : at + draw.randrange(1, 12)]
        else:
            other = draw.choice(good)
            begin = draw.randrange(len(other))
            line[at : at + draw.randrange(12)] = other[begin : begin + draw.randrange(40)]
    return bytes(line)


def lines_of(name: str) -> list[bytes]:
    return [json.dumps(BUILDERS[name](number)).encode() for number in range(200)]


class Judge(io.RawIOBase):
    """The target of the canonical stream: every record that is kept is looked at."""

    def __init__(self) -> None:
        self._plain = zstandard.ZstdDecompressor().decompressobj()
        self._rest = b""
        self.kept = 0

    def write(self, data) -> int:
        *lines, self._rest = (self._rest + self._plain.decompress(bytes(data))).split(b"\n")
        for line in lines:
            record = parse_record.validate_json(line)
            assert usable(record), line
            self.kept += 1
        return len(data)


def records_of(name: str) -> list[bytes]:
    """The line of names, then the records of a table, of which one may be several lines."""
    records = [
        table([BUILDERS[name](number)]).partition(b"\r\n") for number in range(599)
    ]  # more than the head of a file, by which a table is known
    return [records[0][0], *(record.removesuffix(b"\r\n") for _, _, record in records)]


@pytest.mark.slow
def test_a_million_mutated_lines():
    each = LINES // len(BUILDERS)
    kept = refused = 0
    peaks = []
    for seed, name in enumerate(BUILDERS):
        judge, mutated = Judge(), Mutated(lines_of(name), each, seed)
        report = check_file(mutated, canonical=judge, checks="none", on_error="skip", max_bad_fraction=1.0)
        assert report.format == name
        assert judge.kept == report.counts.usable >= mutated.untouched > each / 8
        assert report.errors_by_code.keys() <= HINTS.keys()
        assert len(report.errors) == min(10_000, sum(report.errors_by_code.values()))
        kept += judge.kept
        refused += sum(report.errors_by_code.values())
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    print(f"{each * len(BUILDERS):,} lines: {kept:,} records kept, {refused:,} refusals, peaks {peaks} MiB")
    assert refused > LINES / 10
    assert kept > LINES / 10
    # After the first file, which fills the caches, the others bring no more than their own digests.
    assert max(peaks) - peaks[0] < 100


@pytest.mark.slow
def test_mutated_tables():
    """A quote that is opened swallows what follows, up to the next; so the records are not counted, but judged."""
    first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for seed, format in enumerate(TABLES):
        judge, mutated = Judge(), Mutated(records_of(format), LINES // 20, seed, SELDOM)
        report = check_file(mutated, canonical=judge, checks="none", on_error="skip", max_bad_fraction=1.0)
        assert (report.container, report.format) == ("csv", format), report.error
        assert judge.kept == report.counts.usable > LINES / 100
        assert report.errors_by_code.keys() <= HINTS.keys()
        assert sum(report.errors_by_code.values()) > LINES / 5_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - first < 150


@pytest.mark.slow
def test_mutated_parquet():
    """Its reader is a process of its own, which may die: then the file is refused, in so many words."""
    draw, seen = random.Random(1), set()
    whole = parquet([triple(n) for n in range(30)])
    for _ in range(100):
        judge = Judge()
        file = bytearray(whole)
        for _ in range(draw.choice((1, 1, 3))):
            file[draw.randrange(len(file))] ^= 1 << draw.randrange(8)
        report = check_file(io.BytesIO(file), canonical=judge, checks="none", on_error="skip")
        assert report.error is None or report.error.code in ENDS, report.error
        assert judge.kept == report.counts.usable
        seen.add(report.error.code if report.error else "")
    assert len(seen) > 2
