"""This node's copies of what many attempts read: base models, canonical data, reference entries, by digest.

Each is checked when it comes. What a process has asked for it uses until it ends: a shared lock says so, and dies with
it. Beyond `cache_bytes`, or where the disk is nearly full, the least recently used go, but none that is in use.
"""

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from zstandard import ZstdError

from core import settings
from core.contract.manifest import Manifest, ManifestMismatch
from core.disk import flush, flush_all, free, rename
from core.objects import keys
from core.objects.store import Progress, Store
from preferences.canonical import digest_of

log = logging.getLogger(__name__)
KINDS = ("models", "canonical", "references")
# Beside each entry: locked by who makes or deletes it; locked (shared) by who uses it, its time that of the last use.
MAKE, USE, PART = ".lock", ".use", ".part"
_in_use: dict[Path, IO[bytes]] = {}
_threads = threading.Lock()


def model(store: Store, digest: str, prefix: str, manifest: Manifest, progress: Progress | None = None) -> Path:
    """The model's folder; it appears only when each file has the sha256 of the manifest."""

    def make(partial: Path) -> None:
        store.download_folder(manifest, prefix, partial, progress=progress)

    return entry("models", digest, sum(file.bytes for file in manifest.files), make)


def canonical(store: Store, digest: str, progress: Progress | None = None) -> Path:
    """The canonical records; their digest is that of the uncompressed lines."""

    def make(partial: Path) -> None:
        store.download(keys.canonical(digest), partial, progress=progress)
        try:
            found = digest_of(partial)
        except ZstdError as error:
            raise ManifestMismatch(f"The canonical data {digest} is damaged in the store: {error}.") from error
        if found != digest:
            raise ManifestMismatch(f"The canonical data {digest} has digest {found} in the store.")

    return entry("canonical", f"{digest}.jsonl.zst", store.head(keys.canonical(digest)) or 0, make)


def reference(store: Store, sha256: str, object_key: str, size: int, progress: Progress | None = None) -> Path:
    """Log-probabilities of an earlier run. Raises NotFound, ManifestMismatch."""

    def make(partial: Path) -> None:
        store.download(object_key, partial, sha256=sha256, bytes=size, progress=progress)

    return entry("references", f"{sha256}.safetensors", size, make)


def entry(kind: str, name: str, size: int, make: Callable[[Path], None]) -> Path:
    """Made (about `size` bytes) if it is not there; in use from now on, to the end of this process."""
    path = settings.worker().cache / kind / name
    with locked(path):
        use(path)
        if not path.exists():
            make_room(size)
            partial = path.with_name(name + PART)
            remove(partial)
            try:
                make(partial)
                # Nobody checks it again: after a power cut the name must not stand for less.
                flush_all(partial)
                rename(partial, path)
                flush(path.parent)
            finally:
                remove(partial)
    return path


def use(path: Path) -> None:
    """Waits while another process deletes it."""
    with _threads:
        if path not in _in_use:
            handle = path.with_name(path.name + USE).open("wb")
            fcntl.flock(handle, fcntl.LOCK_SH)
            _in_use[path] = handle
    os.utime(path.with_name(path.name + USE))


def make_room(coming: int) -> None:
    """Deletes the least recently used that no process uses, until `coming` bytes fit: the limit, and the disk."""
    own = settings.worker()
    found = sorted(entries(), key=last_used)
    sizes = {path: size_of(path) for path in found}
    total = sum(sizes.values()) + coming
    for path in found:
        if total <= own.cache_bytes and free(own.cache) >= coming + own.free_bytes:
            return
        if delete(path):
            log.info("cache: %s removed, %d bytes", path.name, sizes[path])
            total -= sizes[path]


def entries() -> Iterator[Path]:
    for kind in KINDS:
        for path in sorted((settings.worker().cache / kind).glob("*")):
            if path.suffix not in (MAKE, USE):
                yield path


def delete(path: Path) -> bool:
    """False for one that is being made or used. What a killed process left half-made is an entry too."""
    whole = path.with_name(path.name.partition(PART)[0])
    lock, used = whole.with_name(whole.name + MAKE), whole.with_name(whole.name + USE)
    try:
        with locked(whole, wait=False), used.open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path == whole:
                # Renamed first: what is half deleted must not look whole.
                path = whole.with_name(whole.name + PART)
                remove(path)
                rename(whole, path)
            remove(path)
            used.unlink()
            lock.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def last_used(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.with_name(path.name + USE).stat().st_mtime
    return 0.0


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    total = 0
    for each in files:
        with suppress(FileNotFoundError):
            total += each.stat().st_size
    return total


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """One process of this node at a time; BlockingIOError where another is at it and `wait` is False."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + MAKE)
    while True:
        with lock.open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if same_file(handle, lock):
                yield
                return


def same_file(handle: IO[bytes], path: Path) -> bool:
    """Who deletes an entry deletes its lock; who waited for that one must take the new one."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
