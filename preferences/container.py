"""What kind of file the bytes are, by content alone, and its rows."""

import itertools
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from preferences.array import split_elements
from preferences.csv_rows import delimiter_of, read_csv
from preferences.faults import FileFault
from preferences.limits import Limits
from preferences.parquet_rows import MAGIC, in_place, read_parquet
from preferences.rows import RawRow, split_lines
from preferences.unpack import Packed, Progress, capped, packing, unpack

ACCEPTED = (
    "Accepted: JSON lines (one object a line), one JSON array of objects, CSV with a line of column names, or Parquet; "
    "plain, gzip or zstd, text in UTF-8."
)
HEAD = 64 << 10
_NOTHING: Mapping[str, str] = {}
BOM = b"\xef\xbb\xbf"

_KINDS = (
    (b"ARROW1", "an Arrow file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\x00", "packed with xz"),
    (b"BZh", "packed with bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "packed with lz4"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"\x93NUMPY", "a NumPy file"),
)


def open_rows(
    source: BinaryIO, limits: Limits, progress: Progress | None = None, *, mapped: Mapping[str, str] = _NOTHING
) -> tuple[str, Iterator[RawRow]]:
    """The container's name (`jsonl`, `json_array`, `csv`, `parquet`, with `+gzip` or `+zstd`) and its rows.

    `mapped`: column -> the field that it is read for.
    """
    read = Packed(source, progress)
    packed, chunks = unpack(read, limits)
    head = _head(chunks, limits)
    if head.startswith(MAGIC):
        return _parquet(source, itertools.chain([head], chunks), packed, read, limits)
    _refuse_utf16(head)
    head = head.removeprefix(BOM)
    text = head.lstrip()
    if not text:
        raise FileFault("file_empty", "The file is empty.")
    _refuse_other_kinds(head, packed)
    whole = itertools.chain([head], chunks)
    suffix = f"+{packed}" if packed else ""
    if text.startswith(b"["):
        return "json_array" + suffix, split_elements(whole, limits.line)
    lines = [line.strip() for line in text.split(b"\n")]
    # A cell of a table may hold a line that looks like an object; a first line of JSON lines may be damaged.
    if b"{" not in lines[0] and (delimiter := delimiter_of(head, len(head) < HEAD, mapped)):
        return "csv" + suffix, read_csv(whole, delimiter, limits.line, mapped)
    if not any(line.startswith(b"{") for line in lines):
        raise FileFault("container_unknown", f"The file is {_guess(lines[0])}. {ACCEPTED}")
    if _pretty_printed(lines):
        raise FileFault(
            "container_unknown", f"The file begins with one JSON object spread over several lines. {ACCEPTED}"
        )
    return "jsonl" + suffix, split_lines(whole, limits.line)


def _parquet(
    source: BinaryIO, chunks: Iterator[bytes], packed: str | None, read: Packed, limits: Limits
) -> tuple[str, Iterator[RawRow]]:
    """What its reader writes is held against the file's size; what the footer says of sizes is a hint at most."""
    file = read_parquet(source, chunks, plain=packed is None)
    rows = capped(file, lambda: max(read.read, in_place(source)), limits)
    return "parquet" + (f"+{packed}" if packed else ""), split_lines(_judged(rows, limits), limits.line)


def _judged(rows: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """So many of them held back that a bomb is known before a record of it is looked at."""
    held: list[bytes] = []
    size = 0
    while size <= limits.ratio_from and (chunk := next(rows, b"")):
        held.append(chunk)
        size += len(chunk)
    yield from held
    yield from rows


def _head(chunks: Iterator[bytes], limits: Limits) -> bytes:
    """At least HEAD bytes and one that is not white space, where there are such."""
    parts: list[bytes] = []
    size = 0
    solid = False
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        solid = solid or not (chunk.isspace() or chunk == BOM)
        if size >= HEAD and solid:
            return b"".join(parts)
        if size > limits.line and not solid:
            raise FileFault("container_unknown", f"The file begins with {size:,} bytes of white space. {ACCEPTED}")
    return b"".join(parts)


def _refuse_utf16(head: bytes) -> None:
    sample = head[:4096]
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")) or sample[:2] in (b"{\0", b"\0{", b"[\0", b"\0["):
        raise FileFault("utf8_invalid", "The file is in UTF-16 or UTF-32. Save it as UTF-8.")


def _refuse_other_kinds(head: bytes, packed: str | None) -> None:
    if packed and packing(head):
        raise FileFault("container_unknown", f"The file is packed twice. {ACCEPTED}")
    for magic, name in _KINDS:
        if head.startswith(magic):
            raise FileFault("container_unknown", f"The file is {name}, which is not read. {ACCEPTED}")
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise FileFault("container_unknown", f"The file is a Python pickle, which is never opened. {ACCEPTED}")


def _guess(line: bytes) -> str:
    if any(byte < 9 or 14 <= byte < 32 for byte in line[:4096]):
        return "binary"
    return "neither JSON lines, nor a JSON array, nor a table"


def _pretty_printed(lines: list[bytes]) -> bool:
    """A first line of `{` alone, with a key on the next."""
    return lines[0] == b"{" and next(filter(None, lines[1:]), b"").startswith(b'"')
