"""Parquet, read by a process of its own with limits: what a damaged or hostile file does there harms nobody else."""

import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from preferences.faults import FileFault

MAGIC = b"PAR1"
# The reader's own; enough for a row group of usual size (128 MiB packed), far below what could hurt a machine.
MEMORY = 3 << 30
CPU_SECONDS = 1200
CHUNK = 256 << 10
ROOT = Path(__file__).resolve().parents[1]
# What `python -m preferences.parquet_child` leaves with.
DAMAGED, TOO_LARGE = 3, 4


def read_parquet(source: BinaryIO, chunks: Iterable[bytes], *, plain: bool) -> Iterator[bytes]:
    """The rows as JSON lines, in chunks. A plain file is read in place, all else is laid down in a nameless one first.

    FileFault `container_damaged` or `decompression_limit`.
    """
    laid = None if plain and in_place(source) else _spooled(chunks)
    with tempfile.TemporaryFile() as said:
        reader = subprocess.Popen(
            [sys.executable, "-m", "preferences.parquet_child", str(MEMORY), str(CPU_SECONDS)],
            cwd=ROOT,
            stdin=laid or source,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        assert reader.stdout is not None
        try:
            while chunk := os.read(reader.stdout.fileno(), CHUNK):
                yield chunk
            code = reader.wait()
        finally:
            reader.kill()
            reader.wait()
            reader.stdout.close()
            if laid:
                laid.close()
        if code:
            said.seek(0)
            raise _fault(code, said.read(1 << 16).decode(errors="replace"))


def in_place(source: BinaryIO) -> int:
    """Bytes of a file on the disk; 0 for what is none and can only be read from its beginning to its end."""
    try:
        return os.fstat(source.fileno()).st_size if source.seekable() else 0
    except (OSError, io.UnsupportedOperation, AttributeError):
        return 0


def _spooled(chunks: Iterable[bytes]) -> IO[bytes]:
    laid = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller, when its reader has ended
    try:
        for chunk in chunks:
            laid.write(chunk)
        laid.flush()
    except BaseException:
        laid.close()
        raise
    return laid


def _fault(code: int, said: str) -> FileFault:
    why = (said.strip().splitlines() or ["it gave no reason"])[-1][:300]
    if code == TOO_LARGE or code == -signal.SIGXCPU:
        return FileFault(
            "decompression_limit",
            f"The Parquet file needs more than {MEMORY >> 30} GiB of memory or {CPU_SECONDS // 60} minutes to be read; "
            "write it with smaller row groups.",
        )
    if code == DAMAGED:
        return FileFault("container_damaged", f"The Parquet file is damaged: {why}")
    return FileFault("container_damaged", f"The Parquet file is damaged: its reader ended with {code}.")
