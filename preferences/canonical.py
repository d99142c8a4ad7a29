"""The canonical file: one record a line in a zstd stream, named by the sha256 of the plain lines."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from pydantic_core import to_json

from core.contract.preference import Kind
from preferences.draft import Draft

# A ninth larger than at 3, and a row in an eighth less time.
LEVEL = 1
HELD = 64 << 10
# In the order of the contract: the digest of a known file never changes.
_BESIDE = ("annotators", "group", "source", "language", "split")
_TEMPLATE = "chat_template_kwargs"
_OF_PAIRS = ("confidence", "margin")


def line_of(
    draft: Draft,
    kind: Kind,
    beside: dict[str, Any],
    identity: str,
    line: int,
    name: str,
    prompt: bytes,
    answers: list[bytes],
) -> bytes:
    """A record of `core.contract.preference` as JSON; `prompt` and `answers` are those of the draft, in JSON already.

    Written without a model between: that would take longer than all else that is done to a row, and the parts are
    checked. A test holds it against the model.
    """
    parts = [b'{"id":%b,"prompt":%b' % (to_json(identity), prompt)]
    if draft.tools:
        parts.append(b',"tools":%b' % to_json(draft.tools))
    parts.append(b',"weight":%b' % (to_json(beside["weight"]) if "weight" in beside else b"1.0"))
    parts += [b',"%b":%b' % (each.encode(), to_json(beside[each])) for each in _BESIDE if each in beside]
    meta = draft.extra | draft.scores if draft.scores else draft.extra
    if type(theirs := meta.get("meta")) is dict:
        meta = {**theirs, **{name: value for name, value in meta.items() if name != "meta"}}
    parts.append(
        b',"meta":%b,"origin":{"line":%d,"format":"%b"},' % (to_json(meta) if meta else b"{}", line, name.encode())
    )
    if draft.raw_text:
        parts.append(b'"raw_text":true,')
    if _TEMPLATE in beside:
        parts.append(b'"%b":%b,' % (_TEMPLATE.encode(), to_json(beside[_TEMPLATE])))
    if kind == "pair":
        parts.append(b'"kind":"%b","chosen":%b,"rejected":%b' % (b"tie" if draft.tie else b"pair", *answers))
        parts += [b',"%b":%b' % (each.encode(), to_json(beside[each])) for each in _OF_PAIRS if each in beside]
        parts.append(b"}\n")
    elif kind == "unpaired":
        label = b"true" if draft.label else b"false"
        parts.append(b'"kind":"unpaired","completion":%b,"label":%b}\n' % (answers[0], label))
    else:
        told = (b",".join(answers), to_json(draft.ranks))
        parts.append(b'"kind":"ranking","completions":[%b],"ranks":%b}\n' % told)
    return b"".join(parts)


class CanonicalWriter:
    """Writes while rows stream by; without a target only the digest is made. The target stays open."""

    def __init__(self, target: BinaryIO | None) -> None:
        self._hash = hashlib.sha256()
        self._stream = (
            zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(target, closefd=False)
            if target
            else None
        )
        self._held: list[bytes] = []
        self._size = 0
        self.bytes = 0

    def add(self, line: bytes) -> None:
        self._held.append(line)
        self._size += len(line)
        if self._size > HELD:
            self._pass()

    def _pass(self) -> None:
        lines = b"".join(self._held)
        self._hash.update(lines)
        self.bytes += len(lines)
        if self._stream:
            self._stream.write(lines)
        self._held, self._size = [], 0

    def close(self) -> str:
        """Ends the stream; the digest."""
        self._pass()
        if self._stream:
            self._stream.flush(zstandard.FLUSH_FRAME)
        return self._hash.hexdigest()


def lines_of(path: Path) -> Iterator[bytes]:
    """The plain lines of a canonical file, one after the other, without their ends."""
    with path.open("rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream) as lines:
        rest = b""
        while chunk := lines.read(1 << 20):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole


def digest_of(path: Path) -> str:
    """sha256 (hex) of the plain lines of a canonical file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream) as lines:
        while chunk := lines.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
