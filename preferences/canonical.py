"""The canonical file: one record a line in a zstd stream, named by the sha256 of the plain lines."""

import hashlib
from pathlib import Path
from typing import BinaryIO

import zstandard

from core.contract.preference import AnyRecord

LEVEL = 3


class CanonicalWriter:
    """Writes while rows stream by; without a target only the digest is made. The target stays open."""

    def __init__(self, target: BinaryIO | None) -> None:
        self._hash = hashlib.sha256()
        self._stream = (
            zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(target, closefd=False)
            if target
            else None
        )
        self.bytes = 0

    def add(self, record: AnyRecord) -> None:
        line = record.model_dump_json(exclude_none=True).encode() + b"\n"
        self._hash.update(line)
        self.bytes += len(line)
        if self._stream:
            self._stream.write(line)

    def close(self) -> str:
        """Ends the stream; the digest."""
        if self._stream:
            self._stream.flush(zstandard.FLUSH_FRAME)
        return self._hash.hexdigest()


def digest_of(path: Path) -> str:
    """sha256 (hex) of the plain lines of a canonical file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream) as lines:
        while chunk := lines.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
