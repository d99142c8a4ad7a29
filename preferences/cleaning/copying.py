"""The rows that stay, copied into a new file of the same layout, packed as the source is."""

import gzip
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from preferences.cleaning.reasons import Reason, key
from preferences.container import open_rows
from preferences.limits import Limits
from preferences.rows import RawRow
from preferences.unpack import Packed, unpack

Going = Mapping[int, Reason]
Tell = Callable[[RawRow, Reason], None]
# Column -> the field that it is read for: some files are known to be tables by these alone.
Columns = Mapping[str, str]


def copy(
    layout: str, packed: str, source: Path, out: BinaryIO, going: Going, tell: Tell, limits: Limits, mapped: Columns
) -> int:
    """How many rows stay; `tell` is told of each that goes. JSON lines (but for blank ones), the elements of an array
    and the records of a CSV file stay byte for byte, the rows of a Parquet file keep their schema."""
    rows = staying(source, going, tell, limits, mapped)
    with packing(out, packed) as target:
        if layout == "parquet":
            return copy_parquet(source, target, rows, limits)
        if layout == "csv":
            return copy_csv(source, target, rows, going, limits)
        return copy_json(layout, target, rows)


def copy_json(layout: str, target: BinaryIO, rows: Iterable[RawRow]) -> int:
    kept = 0
    between = b"\n" if layout == "jsonl" else b",\n"
    for raw in rows:
        target.write(between if kept else b"" if layout == "jsonl" else b"[\n")
        target.write(raw.data if layout == "jsonl" else raw.data.strip())
        kept += 1
    if layout == "jsonl":
        target.write(b"\n" if kept else b"")
    else:
        target.write(b"\n]\n" if kept else b"[]\n")
    return kept


def copy_csv(source: Path, target: BinaryIO, rows: Iterable[RawRow], going: Going, limits: Limits) -> int:
    """By lines: a record is all from the line where it begins to the one where the next does."""
    stays = {raw.line for raw in rows}
    skipped = False
    with source.open("rb") as opened:
        _, chunks = unpack(Packed(opened), limits)
        for number, line in enumerate(lines(chunks), 1):
            if number in stays:
                skipped = False
            elif number in going:
                skipped = True
            if not skipped:
                target.write(line)
    return len(stays)


def copy_parquet(source: Path, target: BinaryIO, rows: Iterable[RawRow], limits: Limits) -> int:
    """A row's line is its number: the file has been read once already, by a process of its own."""
    import pyarrow
    import pyarrow.parquet

    stays, seen = {raw.line for raw in rows}, 0
    with (
        plain(source, limits) as opened,
        pyarrow.parquet.ParquetFile(opened) as read,
        pyarrow.parquet.ParquetWriter(target, read.schema_arrow) as write,
    ):
        for batch in read.iter_batches():
            mask = pyarrow.array([seen + place + 1 in stays for place in range(batch.num_rows)])
            write.write_batch(batch.filter(mask))
            seen += batch.num_rows
    return len(stays)


@contextmanager
def plain(source: Path, limits: Limits) -> Iterator[BinaryIO]:
    """The file itself, or what is packed in it, laid down: Parquet is read from its end."""
    with source.open("rb") as opened, tempfile.TemporaryFile() as laid:
        packed, chunks = unpack(Packed(opened), limits)
        if packed is None:
            opened.seek(0)
            yield opened
            return
        for chunk in chunks:
            laid.write(chunk)
        laid.seek(0)
        yield laid


def staying(source: Path, going: Going, tell: Tell, limits: Limits, mapped: Columns) -> Iterator[RawRow]:
    with source.open("rb") as opened:
        _, rows = open_rows(opened, limits, mapped=mapped)
        for raw in rows:
            if reason := going.get(key(raw)) or beyond(raw):
                tell(raw, reason)
            else:
                yield raw


def beyond(raw: RawRow) -> Reason | None:
    """A row that is too long to be held cannot be copied."""
    return Reason("malformed", "line_too_long: only its beginning can be held") if raw.too_long else None


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """With their ends."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def packing(out: BinaryIO, packed: str) -> AbstractContextManager[BinaryIO]:
    """`packed` as in the container's name; `out` stays open."""
    if packed == "gzip":
        return cast("AbstractContextManager[BinaryIO]", gzip.GzipFile(fileobj=out, mode="wb", mtime=0))
    if packed == "zstd":
        writer = zstandard.ZstdCompressor(write_checksum=True).stream_writer(out, closefd=False)
        return cast("AbstractContextManager[BinaryIO]", writer)
    return nullcontext(out)
