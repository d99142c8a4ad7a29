"""The header of a GGUF file, walked before any library reads it: the gguf library follows a wrong count without end.

Layout (ggml's docs/gguf.md): magic, version, count of tensors, count of entries; each entry a name, a type and a value;
each tensor a name, its sizes, a type and an offset. All little-endian, a string after its length.
"""

import os
import struct
from pathlib import Path
from typing import IO, Any

from core.contract.errors import BadModel

MAGIC = b"GGUF"
INSTEAD = "take the model's folder of safetensors"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
# Of struct, by GGUF's number of the type.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
# Far above any model's: its vocabulary and merges are most of them.
MOST_VALUES, MOST_DIMENSIONS = 10_000_000, 4


class Unfit(BadModel):
    code = "gguf_unsupported"


def damaged(file: Path, what: str) -> BadModel:
    return BadModel(
        f"{file} is cut short or damaged ({what}). Copy or download that file again.",
        code="gguf_damaged",
    )


def check(file: Path, known_types: set[int]) -> None:
    """Raises BadModel for a header that cannot be followed to its end. `known_types`: numbers of quantisations."""
    with file.open("rb") as stream:
        Header(file, stream).walk(known_types)


class Header:
    def __init__(self, file: Path, stream: IO[bytes]) -> None:
        self.file, self.stream = file, stream
        self.size = os.fstat(stream.fileno()).st_size
        self.values = 0

    def walk(self, known_types: set[int]) -> None:
        self.take(len(MAGIC), "its magic")
        version = self.number("I", "its version")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            is_ = "is big-endian" if swapped in VERSIONS else f"is of GGUF's version {version}"
            raise self.unfit(f"{is_}, and only little-endian files of versions 2 and 3 are read")
        tensors, entries = (self.number("Q", what) for what in ("the count of its tensors", "the count of its entries"))
        for what, count in (("tensors", tensors), ("entries", entries)):
            # Each takes more than a byte.
            if count > self.size:
                raise damaged(self.file, f"its header counts {count} {what}, and the file has {self.size} bytes")
        names: set[str] = set()
        for number in range(entries):
            self.count(1)
            name = self.text(f"the name of entry {number + 1}")
            if name in names:
                raise self.unfit(f"has two entries of the name {shown(name)}")
            names.add(name)
            self.value(name)
        for number in range(tensors):
            self.tensor(number, known_types)

    def value(self, name: str) -> None:
        kind = self.number("I", f"the type of {shown(name)}")
        if kind == STRING:
            self.text(shown(name))
        elif kind == ARRAY:
            self.array(name)
        elif kind in SCALARS:
            self.number(SCALARS[kind], shown(name))
        else:
            raise damaged(self.file, f"{shown(name)} is of type {kind}, which GGUF does not have")

    def array(self, name: str) -> None:
        kind, count = self.number("I", shown(name)), self.number("Q", shown(name))
        if kind == STRING:
            smallest = 8
        elif kind in SCALARS:
            smallest = struct.calcsize(SCALARS[kind])
        else:
            raise self.unfit(f"has {shown(name)}, an array of type {kind}, which is not read")
        self.fit(count * smallest, f"the {count} values of {shown(name)}")
        self.count(count)
        if kind == STRING:
            for number in range(count):
                self.text(f"value {number + 1} of {shown(name)}")
        else:
            self.stream.seek(count * smallest, os.SEEK_CUR)

    def tensor(self, number: int, known_types: set[int]) -> None:
        self.count(1)
        name = shown(self.text(f"the name of tensor {number + 1}"))
        dimensions = self.number("I", name)
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise damaged(self.file, f"its tensor {name} has {dimensions} dimensions")
        for _ in range(dimensions):
            self.number("Q", name)
        kind = self.number("I", name)
        self.number("Q", name)
        if kind not in known_types:
            raise self.unfit(f"holds {name} in a quantisation that is not known here (GGML's type {kind})")

    def number(self, kind: str, what: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(kind), what))[0]

    def text(self, what: str) -> str:
        length = self.number("Q", what)
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError as error:
            raise self.unfit(f"has text that is not UTF-8 ({what}: {error.reason})") from error

    def take(self, length: int, what: str) -> bytes:
        self.fit(length, what)
        return self.stream.read(length)

    def fit(self, length: int, what: str) -> None:
        if length > self.size - self.stream.tell():
            raise damaged(self.file, f"{what} would end beyond the file, which has {self.size} bytes")

    def count(self, more: int) -> None:
        self.values += more
        if self.values > MOST_VALUES:
            raise self.unfit(f"has a header of more than {MOST_VALUES:,} values")

    def unfit(self, what: str) -> Unfit:
        return Unfit(f"{self.file} {what}. Rather {INSTEAD}.")


def shown(text: str) -> str:
    """On one line, not too long."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= 80 else f"{line[:80]}…"
