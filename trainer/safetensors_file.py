"""A safetensors file written piece by piece: its header comes first, since every size is known before any tensor is.

Format: 8 bytes little-endian length of the header, the header (JSON, padded with spaces to 8 bytes), the tensors' bytes
without gaps. As safetensors' own writer does, wider types come first, so that every tensor is aligned.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


# In the metadata of an adapter's file: the digest of the base that it was trained on.
BASE_DIGEST = "palate_base_digest"


@dataclass(frozen=True)
class Entry:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def header(entries: Sequence[Entry], about: Mapping[str, str]) -> bytes:
    """`entries` in the order in which their tensors will follow; `about` the file, for who reads it."""
    table: dict[str, object] = {"__metadata__": {"format": "pt", **about}}
    end = 0
    for entry in entries:
        begin, end = end, end + entry.bytes
        table[entry.name] = {"dtype": TYPES[entry.dtype], "shape": list(entry.shape), "data_offsets": [begin, end]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True)
class Written:
    """A tensor of a file by its header; its bytes lie from `begin` to `end`."""

    dtype: str
    shape: list[int]
    begin: int
    end: int


def table(path: Path) -> dict[str, Written]:
    """The header read back, in the order of the bytes. Raises ValueError for what is no safetensors file."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        found = json.loads(stream.read(length))
    start = 8 + length
    entries = {
        name: Written(each["dtype"], each["shape"], *(start + offset for offset in each["data_offsets"]))
        for name, each in found.items()
        if name != "__metadata__"
    }
    return dict(sorted(entries.items(), key=lambda entry: entry[1].begin))


def raw(tensor: Tensor) -> memoryview:
    """Its bytes; on the CPU."""
    data: memoryview = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
    return data


def digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def append(path: Path, pieces: Iterable[bytes | Tensor]) -> None:
    """Tensors on the CPU."""
    with path.open("ab") as stream:
        for piece in pieces:
            if isinstance(piece, Tensor):
                stream.write(raw(piece))
            else:
                stream.write(piece)
