import gzip
import io
import itertools
import pickle
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from preferences.check import check_file
from preferences.limits import Limits
from tests.unit.preferences.rows import SMALL, check, jsonl, openai

GOOD = jsonl([openai(n) for n in range(20)])


class Stream(io.RawIOBase):
    """A file that is made while it is read, and never whole in memory."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        piece = self._rest or next(self._pieces, b"")
        self._rest = piece[size:]
        return piece[:size]


def peak(source: Stream, **options) -> tuple[object, int]:
    tracemalloc.start()
    try:
        return check_file(source, checks="none", **options), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b'{"x": "', b'[{"x": "'])
def test_a_line_of_100_mb_is_refused_without_being_held(opening):
    closing = b'"}\n' + GOOD if opening.startswith(b"{") else b'"},' + b",".join(GOOD.splitlines()) + b"]"
    source = Stream(itertools.chain([opening], itertools.repeat(b"a" * (1 << 20), 100), [closing]))
    report, used = peak(source)
    assert [(error.line, error.code) for error in report.errors] == [(1, "line_too_long")]
    assert report.counts.usable == 20
    assert used < 80 << 20


def test_many_small_rows_take_no_memory():
    row = jsonl([openai(1)])
    report, used = peak(Stream(itertools.repeat(row * 100, 100)))
    assert report.counts.records == 10_000
    assert used < 8 << 20


def gzip_bomb(size: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    yield packer.compress(b"{")
    for _ in range(size >> 20):
        yield packer.compress(b" \n" * (1 << 19))
    yield packer.flush()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_refused_in_bounded_memory(kind):
    if kind == "gzip":
        data = b"".join(gzip_bomb(80 << 20))
    else:
        data = zstandard.ZstdCompressor(write_content_size=False).compress(b"{" + b" \n" * (40 << 20))
    report, used = peak(Stream(iter([data])))
    assert report.error.code == "decompression_limit"
    assert used < 90 << 20


def test_the_size_cap_holds_whatever_the_ratio():
    report = check(gzip.compress(GOOD * 400), limits=Limits(unpacked=100_000))
    assert report.error.code == "decompression_limit"
    assert "100,000" in report.error.message


def test_a_zstd_frame_with_a_giant_window_is_refused():
    # Magic, a descriptor without a single segment, and a window descriptor that asks for 2 TiB.
    data = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xf8" + b"\x01\x00\x00"
    assert check(data).error.code == "decompression_limit"


def test_pickle_is_not_opened():
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    for protocol in range(6):
        assert check(pickle.dumps(Trap(), protocol)).error.code == "container_unknown"
        assert not check(gzip.compress(pickle.dumps(Trap(), protocol))).usable


QUADRATIC = {
    "quotes": b'{"a":' + b'"\\"' * 300_000,
    "escapes": b'{"a": "' + b"\\" * 900_001,
    "NaN after many texts": b'{"a": [' + b'"x",' * 200_000 + b"NaN]}",
    "surrogates": b'{"a": "' + b"\\ud83d\\ude00" * 80_000 + b'\\ud83d"}',
    "brackets": b'{"a": "' + b"[" * 900_000 + b'"}',
    "digits": b'{"a": ' + b"1" * 900_000 + b"}",
    "minus": b'{"a": ' + b"-" * 900_000 + b"}",
    "array in an array": b"[" * 900_000,
    "spaces": b'{"a":' + b" " * 900_000,
    "keys": b"{" + b",".join(b'"%d":1' % n for n in range(80_000)) + b',"7":1}',
}


@pytest.mark.parametrize("case", QUADRATIC)
@pytest.mark.timeout(5)
def test_no_row_costs_more_than_its_length(case):
    for data in (QUADRATIC[case] + b"\n" + GOOD, b"[" + QUADRATIC[case] + b"]"):
        assert check(data).error is not None


@pytest.mark.parametrize("text", [b"\x1b[2J", b"\x9b", b"\x07", "\u202e".encode(), b"\r"])
def test_a_terminal_obeys_no_excerpt(text):
    report = check(GOOD + b'{"a' + text + b'": [}\n')
    assert report.errors[0].excerpt.isprintable()
    assert report.errors[0].message.isprintable()


def test_an_error_of_a_very_long_row_is_shown_around_its_place():
    line = b'{"a": "' + b"x" * 3000 + b'", oops}'
    report = check(GOOD + line + b"\n", limits=SMALL)
    assert "oops" in report.errors[0].excerpt
    assert len(report.errors[0].excerpt) <= 200
    assert report.errors[0].column == line.index(b"oops") + 1
