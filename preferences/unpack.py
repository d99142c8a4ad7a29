"""Bytes of a source, unpacked from gzip or zstd as they are read, never more than a few MiB at a time."""

import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import zstandard

from preferences.faults import FileFault
from preferences.limits import Limits

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
CHUNK = 256 << 10
# One block of zstd may unpack to 32,768 times its size, and its decompressor takes no output limit: feed it little.
ZSTD_FEED = 1 << 10
ZSTD_WINDOW = 128 << 20

Progress = Callable[[int], None]


def packing(head: bytes) -> str | None:
    """`gzip` or `zstd` by the first bytes; a zstd stream may begin with a skippable frame."""
    if head.startswith(GZIP):
        return "gzip"
    if head.startswith(ZSTD) or (len(head) >= 8 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return None


def unpack(packed: "Packed", limits: Limits) -> tuple[str | None, Iterator[bytes]]:
    """The packing by content, and the plain bytes in chunks."""
    kind = packing(packed.peek(8))
    if kind == "gzip":
        return kind, capped(_gunzip(packed), lambda: packed.read, limits)
    if kind == "zstd":
        return kind, capped(_unzstd(packed), lambda: packed.read, limits)
    return None, packed.chunks()


class Packed:
    """Counts what was read, for the ratio and for progress."""

    def __init__(self, source: BinaryIO, progress: Progress | None = None) -> None:
        self._source = source
        self._progress = progress
        self._head = b""
        self.read = 0

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (more := self._source.read(size - len(self._head))):
            self._head += more
        return self._head

    def chunks(self) -> Iterator[bytes]:
        head, self._head = self._head, b""
        while chunk := head or self._source.read(CHUNK):
            head = b""
            self.read += len(chunk)
            if self._progress:
                self._progress(len(chunk))
            yield chunk


def capped(plain: Iterator[bytes], read: Callable[[], int], limits: Limits) -> Iterator[bytes]:
    """What is unpacked, up to the limit on all of it and on its ratio to the packed bytes that were `read` for it."""
    size = 0
    for chunk in plain:
        size += len(chunk)
        if size > limits.unpacked:
            raise FileFault("decompression_limit", f"The file unpacks to more than {limits.unpacked:,} bytes.")
        if size > limits.ratio_from and size > limits.ratio * read():
            raise FileFault(
                "decompression_limit",
                f"The file unpacks to more than {limits.ratio} times its size, as a decompression bomb does; "
                "upload it uncompressed if it is real.",
            )
        # What is cut into lines is small, however much one block unpacked to.
        for start in range(0, len(chunk), CHUNK):
            yield chunk[start : start + CHUNK]


def _gunzip(packed: Packed) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    begun = done = False
    try:
        for data in packed.chunks():
            while data:
                # Some writers pad the end with zeros, and gzip itself accepts them.
                if done and not begun and not (data := data.lstrip(b"\0")):
                    break
                begun = True
                if plain := member.decompress(data, CHUNK):
                    yield plain
                data = member.unconsumed_tail
                if member.eof:
                    data = member.unused_data
                    member = zlib.decompressobj(wbits=31)
                    begun, done = False, True
        while begun and not member.eof and (plain := member.decompress(b"", CHUNK)):
            yield plain
    except zlib.error as error:
        raise FileFault("container_damaged", f"The gzip stream is damaged: {error}.") from None
    if begun and not member.eof:
        raise FileFault("container_damaged", "The gzip stream ends too early; the file is cut off.")


def _unzstd(packed: Packed) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = decompressor.decompressobj()
    begun = False
    try:
        for chunk in packed.chunks():
            for start in range(0, len(chunk), ZSTD_FEED):
                data = chunk[start : start + ZSTD_FEED]
                while data:
                    begun = True
                    if plain := frame.decompress(data):
                        yield plain
                    data = b""
                    if frame.eof:
                        data = frame.unused_data
                        frame, begun = decompressor.decompressobj(), False
    except zstandard.ZstdError as error:
        if "memory" in str(error):
            raise FileFault(
                "decompression_limit", f"The zstd frame asks for a window of more than {ZSTD_WINDOW >> 20} MiB."
            ) from None
        raise FileFault("container_damaged", f"The zstd stream is damaged: {error}.") from None
    if begun:
        raise FileFault("container_damaged", "The zstd stream ends too early; the file is cut off.")
