"""Sources that keep still while a model is added: what is staged are links to a person's own files."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from core.contract.errors import BadModel, PalateError
from planning.model_folder import KEPT, kept
from planning.weights import listed


@contextmanager
def at_rest(*sources: Path) -> Iterator[None]:
    """What is checked inside is what is stored inside: raises BadModel where a file of these folders, or one of these
    files, was changed meanwhile. What else was raised may have come of that."""
    before = stamps(sources)
    try:
        yield
    except (PalateError, OSError):
        refuse_changes(before, sources)
        raise
    refuse_changes(before, sources)


def stamps(sources: Sequence[Path]) -> dict[Path, tuple[int, ...]]:
    """Of every file that may be stored: its size, its inode, and when it was last written, renamed or linked, which no
    program can set; the inode of the link that leads to it, where one does. So a file that was away in between is told,
    though it is back."""
    found: dict[Path, tuple[int, ...]] = {}
    for source in sources:
        names = [source]
        if source.is_dir():
            readable = os.access(source, os.R_OK | os.X_OK)  # else `look` says it
            names = [path for path in kept(source) if path.suffix in KEPT | {".safetensors"}] if readable else []
        for path in names:
            with suppress(FileNotFoundError):
                seen = path.stat()
                found[path] = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, path.lstat().st_ino)
    return found


def refuse_changes(before: dict[Path, tuple[int, ...]], sources: Sequence[Path]) -> None:
    after = stamps(sources)
    changed = sorted(
        os.path.realpath(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )
    if changed:
        raise BadModel(
            f"{listed(changed)} changed while it was being added: add it again. Nothing of it is stored.",
            code="changed_meanwhile",
        ) from None
