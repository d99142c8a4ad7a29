import gzip
import io
import json
import pickle

import pytest
import zstandard

from preferences.check import check_file
from tests.unit.preferences.rows import SMALL, check, jsonl, openai

ROWS = [openai(number) for number in range(30)]
LINES = jsonl(ROWS)
ARRAY = json.dumps(ROWS, indent=1).encode()
PACK = {"": bytes, "+gzip": gzip.compress, "+zstd": zstandard.compress}
SHAPES = {
    "jsonl": ("jsonl", LINES),
    "jsonl without a last line end": ("jsonl", LINES.rstrip()),
    "jsonl with CRLF": ("jsonl", LINES.replace(b"\n", b"\r\n")),
    "jsonl with blank lines": ("jsonl", b"\n \n" + LINES.replace(b"\n", b"\n\n")),
    "jsonl with BOM": ("jsonl", b"\xef\xbb\xbf" + LINES),
    "array": ("json_array", ARRAY),
    "array on one line": ("json_array", json.dumps(ROWS).encode()),
    "array with BOM and CRLF": ("json_array", b"\xef\xbb\xbf\r\n" + ARRAY.replace(b"\n", b"\r\n") + b"\r\n"),
}


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, as a socket may, and cannot seek."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._size))


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_container_gives_the_same_pairs(shape, packing):
    container, data = SHAPES[shape]
    report = check(PACK[packing](data))
    assert report.error is None
    assert report.container == container + packing
    assert (report.counts.records, report.counts.usable) == (30, 30)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_size_of_reads_makes_no_difference(shape, size):
    _, data = SHAPES[shape]
    for pack in PACK.values():
        packed = pack(data)
        assert check(packed).model_dump() == check_dribbled(packed, size).model_dump()


def check_dribbled(data, size, **options):
    return check_file(Dribble(data, size), **({"checks": "quick"} | options))


def test_lines_of_an_array_are_those_of_the_file():
    rows = [openai(n) for n in range(12)]
    text = json.dumps(rows, indent=2).split("\n")
    line = next(n for n, t in enumerate(text, 1) if '"It is 5."' in t)
    text[line - 1] = text[line - 1].replace('"It is 5."', '"é" "It is 5."')
    report = check("\n".join(text).encode())
    column = text[line - 1].index('"It is') + 1
    assert [(e.line, e.column, e.code, e.path) for e in report.errors] == [(line, column, "json_invalid", "[4]")]


def test_columns_on_one_line_count_characters():
    report = check(b"[" + b", ".join([*LINES.splitlines()[:11], '{"é": x}'.encode()]) + b"]")
    before = b", ".join(LINES.splitlines()[:11]).decode()
    assert [(e.line, e.column, e.path) for e in report.errors] == [(1, len(before) + 3 + 7, "[11]")]


def test_paths_in_an_array_name_the_element():
    rows = [openai(n) for n in range(12)]
    rows[4]["preferred_output"][0]["role"] = "bot"
    assert check(json.dumps(rows).encode()).errors[0].path == "[4].preferred_output[0].role"


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_element_that_is_too_long_leaves_the_rest(indent, size):
    rows = [openai(n) for n in range(16)]
    rows[3]["x"] = "y" * 5000
    text = json.dumps(rows, indent=indent)
    report = check_dribbled(text.encode(), size, limits=SMALL)
    begins = [number for number, line in enumerate(text.split("\n"), 1) if line == " {"]
    line = begins[3] if indent else 1
    assert [(e.line, e.code, e.path) for e in report.errors] == [(line, "line_too_long", "[3]")]
    assert report.counts.usable == 15


@pytest.mark.parametrize(
    "text", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"[]", b" [ ] \n", gzip.compress(b"", mtime=0), zstandard.compress(b"")]
)
def test_nothing_is_file_empty(text):
    report = check(text)
    assert report.error.code == "file_empty"
    assert report.digest is None


UNKNOWN = {
    "excel": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "zip": b"PK\x03\x04abc",
    "pickle": pickle.dumps([{"prompt": "x"}]),
    "text": b"hello there",
    "scalar": b"17\n",
    "binary": bytes(range(256)),
    "xz": b"\xfd7zXZ\x00abc",
    "pretty object": json.dumps({"data": ROWS}, indent=1).encode(),
    "packed twice": gzip.compress(gzip.compress(LINES)),
    "white space": b" " * 5000,
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_other_kinds_of_file_are_told_what_is_accepted(case):
    report = check(UNKNOWN[case], limits=SMALL)
    assert report.error.code == "container_unknown"
    assert "JSON lines" in report.error.message


def test_a_pickle_is_called_by_its_name():
    assert "pickle" in check(UNKNOWN["pickle"]).error.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf16_is_named(encoding):
    for data in (LINES, ARRAY):
        report = check(data.decode().encode(encoding))
        assert report.error.code == "utf8_invalid"
        assert "UTF-16" in report.error.message


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_stream_is_damaged(pack, keep):
    packed = pack(LINES)
    assert check(packed[: int(len(packed) * keep)]).error.code == "container_damaged"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_flipped_byte_is_never_taken(pack):
    packed = bytearray(pack(LINES))
    for place in range(10, len(packed), 7):
        packed[place] ^= 0x55
        assert check(bytes(packed)).error is not None or pack is zstandard.compress
        packed[place] ^= 0x55


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_garbage_after_the_stream_is_damage_and_a_second_stream_is_not(pack):
    assert check(pack(LINES) + b"garbage").error.code == "container_damaged"
    assert check(pack(LINES) + pack(LINES)).counts.usable == 60


def test_gzip_padded_with_zeros_and_zstd_with_a_skippable_frame():
    assert check(gzip.compress(LINES) + bytes(600_000)).usable
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert check(skippable + zstandard.compress(LINES)).usable


BROKEN_ARRAYS = {
    "not closed": json.dumps(ROWS).encode()[:-1],
    "cut in a text": json.dumps(ROWS).encode()[:-20],
    "closed by a brace": json.dumps(ROWS).encode()[:-1] + b"}",
    "text after": json.dumps(ROWS).encode() + b" x",
    "arrays by line": b"[1]\n[2]\n",
    "a lone bracket": b"[",
    "a quote": b'["',
}


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("case", BROKEN_ARRAYS)
def test_arrays_that_are_no_arrays_are_damaged(case, size):
    assert check_dribbled(BROKEN_ARRAYS[case], size).error.code == "container_damaged"


def test_a_comma_too_many_in_an_array_is_an_error_of_its_place():
    report = check(json.dumps(ROWS).encode()[:-1] + b",]")
    assert [(e.code, e.path) for e in report.errors] == [("json_invalid", "[30]")]


def test_array_rows_of_other_kinds_are_not_objects():
    report = check(json.dumps([*ROWS, 1, [openai(1)], "x,]"]).encode())
    assert [(e.code, e.path) for e in report.errors] == [("not_object", f"[{n}]") for n in (30, 31, 32)]


@pytest.mark.parametrize("size", [1, 5, 64, 1 << 20])
def test_blank_lines_are_counted_as_lines(size):
    data = LINES + b"  \n" * 5000 + b"  {x\n"
    report = check_dribbled(data, size)
    assert [(e.line, e.column, e.code) for e in report.errors] == [(5031, 4, "json_invalid")]
    assert report.counts.records == 31
