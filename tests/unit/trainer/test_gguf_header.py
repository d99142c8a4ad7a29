"""Heads of GGUF files that no reader can follow, each told by name before a byte more is read."""

import struct
from pathlib import Path

import pytest

from core.contract.errors import BadModel
from trainer import gguf


def packed(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(content)) + content


def head(*entries: bytes, version: int = 3, tensors: int = 0, count: int | None = None, end: bytes = b"") -> bytes:
    return (
        b"GGUF"
        + struct.pack("<IQQ", version, tensors, len(entries) if count is None else count)
        + b"".join([*entries, end])
    )


def entry(name: str, kind: int, value: bytes) -> bytes:
    return packed(name) + struct.pack("<I", kind) + value


def array(name: str, kind: int, count: int, values: bytes = b"") -> bytes:
    return entry(name, 9, struct.pack("<IQ", kind, count) + values)


def tensor(name: str | bytes, kind: int, *sizes: int, dimensions: int | None = None) -> bytes:
    count = len(sizes) if dimensions is None else dimensions
    return packed(name) + struct.pack(f"<I{len(sizes)}QIQ", count, *sizes, kind, 0)


LLAMA = entry("general.architecture", 8, packed("llama"))
UNREADABLE: list[tuple[str, str, str, bytes]] = [
    ("version 1", "gguf_unsupported", "is of GGUF's version 1, and only", head(version=1)),
    ("version 99", "gguf_unsupported", "is of GGUF's version 99, and only", head(version=99)),
    ("big-endian", "gguf_unsupported", "is big-endian, and only", head(version=3 << 24)),
    ("entries without end", "gguf_damaged", "counts 9223372036854775808 entries", head(count=2**63)),
    ("entries beyond the end", "gguf_damaged", "beyond the file", head(LLAMA, count=20)),
    ("tensors without end", "gguf_damaged", "counts 18446744073709551615 tensors", head(tensors=2**64 - 1)),
    ("tensors beyond the end", "gguf_damaged", "the name of tensor 1", head(LLAMA, tensors=9)),
    ("bytes without end", "gguf_damaged", "the 1152921504606846976 values of a", head(array("a", 0, 2**60))),
    ("numbers without end", "gguf_damaged", "values of a would end beyond", head(array("a", 4, 2**62 + 1))),
    ("texts without end", "gguf_damaged", "values of a would end beyond", head(array("a", 8, 2**64 - 1))),
    (
        "a text without end",
        "gguf_damaged",
        "a would end beyond the file",
        head(entry("a", 8, struct.pack("<Q", 2**63))),
    ),
    ("lists of lists", "gguf_unsupported", "an array of type 9", head(array("a", 9, 2, b"\0" * 64))),
    ("a type that is none", "gguf_damaged", "a is of type 13", head(entry("a", 13, b"\0" * 8))),
    ("a list of none", "gguf_unsupported", "an array of type 77", head(array("a", 77, 0))),
    ("a name twice", "gguf_unsupported", "two entries of the name a", head(*[entry("a", 4, b"\0" * 4)] * 2)),
    ("no UTF-8", "gguf_unsupported", "not UTF-8 (general.name: ", head(entry("general.name", 8, packed(b"\xff\xfe")))),
    (
        "a token of no UTF-8",
        "gguf_unsupported",
        "(value 2 of t: ",
        head(array("t", 8, 2, packed("a") + packed(b"\xc3"))),
    ),
    ("a tensor of no UTF-8", "gguf_unsupported", "(the name of tensor 1: ", head(tensors=1, end=tensor(b"\xff", 0, 1))),
    (
        "an unknown quantisation",
        "gguf_unsupported",
        "output.weight in a quantisation that is not known here (GGML's type 99)",
        head(LLAMA, tensors=1, end=tensor("output.weight", 99, 32, 32)),
    ),
    (
        "one that was given up",
        "gguf_unsupported",
        "(GGML's type 4)",
        head(LLAMA, tensors=1, end=tensor("output.weight", 4, 32)),
    ),
    ("no dimension", "gguf_damaged", "has 0 dimensions", head(tensors=1, end=tensor("a", 0))),
    (
        "dimensions without end",
        "gguf_damaged",
        "has 4294967295 dimensions",
        head(tensors=1, end=tensor("a", 0, dimensions=2**32 - 1)),
    ),
    (
        "more than any vocabulary",
        "gguf_unsupported",
        "more than 10,000,000 values",
        head(array("a", 0, 10_000_001, bytes(10_000_001))),
    ),
    (
        "a size that overflows",
        "gguf_damaged",
        "cut short or damaged",
        head(LLAMA, tensors=1, end=tensor("a", 0, 2**32, 2**32)),
    ),
    (
        "a pointer",
        "lfs_pointer",
        "is a Git-LFS pointer in place of the file; run `git lfs pull`",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ),
]


@pytest.mark.parametrize(("code", "words", "content"), [pytest.param(*rest, id=name) for name, *rest in UNREADABLE])
def test_a_header_that_cannot_be_followed_is_told_at_once(
    tmp_path: Path, code: str, words: str, content: bytes
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(BadModel) as refusal:
        gguf.convert(path, tmp_path / "folder")
    assert refusal.value.code == code
    assert words in refusal.value.message
    assert str(path) in refusal.value.message
    assert "\n" not in refusal.value.message
