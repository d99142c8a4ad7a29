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
from tests.unit.preferences.rows import BUILDERS
from tests.unit.preferences.test_fuzz import usable

LINES = int(os.environ.get("PALATE_FUZZ_LINES", "1000000"))
PIECES = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\0",
          b"1e999", b"NaN", b'"role":"user"', b'"assistant"', b'""', b"-1", b"true", b"[]", b"{}", b"\n",
          b"\xef\xbb\xbf", "é".encode()]  # fmt: skip


class Mutated(io.RawIOBase):
    """A file of good lines of one format, of which two in three were changed, made while it is read."""

    def __init__(self, name: str, lines: int, seed: int) -> None:
        self._lines = self._make(name, lines, random.Random(seed))
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size and (line := next(self._lines, None)) is not None:
            self._held += line
        given, self._held = self._held[:size], self._held[size:]
        return given

    def _make(self, name: str, lines: int, draw: random.Random) -> Iterator[bytes]:
        good = [json.dumps(BUILDERS[name](number)).encode() for number in range(200)]
        yield b"\n".join(good) + b"\n"
        for _ in range(lines - len(good)):
            line = bytearray(draw.choice(good))
            for _ in range(draw.choice((0, 1, 1, 1, 2, 4))):
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
                if not line:
                    break
            yield bytes(line) + b"\n"


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


@pytest.mark.slow
def test_a_million_mutated_lines():
    each = LINES // len(BUILDERS)
    kept = refused = 0
    peaks = []
    for seed, name in enumerate(BUILDERS):
        judge = Judge()
        report = check_file(
            Mutated(name, each, seed), canonical=judge, checks="none", on_error="skip", max_bad_fraction=1.0
        )
        assert report.format == name
        assert judge.kept == report.counts.usable
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
