"""The header of a safetensors file: read whole, and held against the file's size. No number is read."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel

BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
# Ten times what the largest models have in one file; a header of them is parsed in a second.
HEADER_LIMIT = 32 << 20
TENSORS, DIMENSIONS, NAME = 100_000, 16, 512
AGAIN = "Copy or download that file again."


@dataclass(frozen=True)
class Tensor:
    """`dtype` as safetensors spells it; `begin` and `end` are offsets into the file's data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


def read(path: Path) -> list[Tensor]:
    """In the order of their bytes. Raises BadModel for a file that is cut short or is none of this format."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise truncated(path, f"it has {size} bytes, and its header alone needs more")
        (length,) = struct.unpack("<Q", prefix)
        if length > HEADER_LIMIT:
            raise invalid(path, f"its header claims {length} bytes")
        if 8 + length > size:
            raise truncated(path, f"its header ends at byte {8 + length}, the file at {size}")
        header = stream.read(length)
    tensors = sorted(parse(path, header), key=lambda each: (each.begin, each.end))
    end = 0
    for tensor in tensors:
        if tensor.begin != end:
            raise invalid(path, f"tensor {tensor.name!r} begins at offset {tensor.begin}, expected {end}")
        end = tensor.end
    expected = 8 + length + end
    if size < expected:
        raise truncated(path, f"it has {size} bytes of {expected}")
    if size > expected:
        raise invalid(path, f"{size - expected} bytes follow its last tensor")
    return tensors


def parse(path: Path, header: bytes) -> list[Tensor]:
    if (most := header.count(b'"data_offsets"')) > TENSORS:
        raise invalid(path, f"its header names {most:,} tensors, and {TENSORS:,} are the most that are read")
    try:
        entries = json.loads(header, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise invalid(path, f"its header is not JSON ({error})") from None
    if not isinstance(entries, dict):
        raise invalid(path, "its header is not a JSON object")
    entries.pop("__metadata__", None)
    return [tensor(path, name, entry) for name, entry in entries.items()]


def tensor(path: Path, name: str, entry: Any) -> Tensor:
    if not name.isprintable() or len(name) > NAME:
        raise invalid(path, f"{name[:60]!a} is no name of a tensor")
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            dtype in BITS
            and len(shape) <= DIMENSIONS
            and all(type(n) is int and 0 <= n < 1 << 63 for n in shape)
            and 0 <= begin <= end
        ):
            found = Tensor(name, dtype, tuple(shape), begin, end)
        case _:
            raise invalid(path, f"the entry of tensor {name!r} is malformed")
    if (end - begin) * 8 != found.size * BITS[dtype]:
        raise invalid(path, f"tensor {name!r} of shape {shape} and type {dtype} does not fill {end - begin} bytes")
    return found


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def invalid(path: Path, what: str) -> BadModel:
    return BadModel(f"{path} is not a whole safetensors file: {what}. {AGAIN}", code="safetensors_invalid")


def truncated(path: Path, what: str) -> BadModel:
    return BadModel(f"{path} is cut short: {what}. {AGAIN}", code="safetensors_truncated")
