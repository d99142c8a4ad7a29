"""Bytes in pieces of one size: what a multipart upload is made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

PART_BYTES = 8 << 20


@dataclass(frozen=True)
class Unfinished:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str


def read_parts(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(PART_BYTES):
        yield chunk


def by_parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of exactly PART_BYTES, but the last."""
    buffer = bytearray()
    for chunk in chunks:
        if not buffer and len(chunk) == PART_BYTES:
            yield chunk
            continue
        buffer += chunk
        while len(buffer) >= PART_BYTES:
            yield bytes(buffer[:PART_BYTES])
            del buffer[:PART_BYTES]
    if buffer:
        yield bytes(buffer)
