"""This node's copies of what many attempts read: base models and canonical data, by digest, each checked once."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import settings
from core.contract.manifest import Manifest
from core.objects import keys
from core.objects.store import Progress, Store
from preferences.canonical import digest_of


def model(store: Store, digest: str, prefix: str, manifest: Manifest, progress: Progress | None = None) -> Path:
    """The model's folder; it appears only when each file has the sha256 of the manifest."""
    folder = settings.worker().cache / "models" / digest
    with locked(folder):
        if not folder.is_dir():
            partial = folder.with_name(f"{digest}.part")
            shutil.rmtree(partial, ignore_errors=True)
            store.download_folder(manifest, prefix, partial, progress=progress)
            partial.rename(folder)
    return folder


def canonical(store: Store, digest: str, progress: Progress | None = None) -> Path:
    """The canonical records; their digest is that of the uncompressed lines."""
    path = settings.worker().cache / "canonical" / f"{digest}.jsonl.zst"
    with locked(path):
        if not path.is_file():
            partial = path.with_name(path.name + ".part")
            store.download(keys.canonical(digest), partial, progress=progress)
            found = digest_of(partial)
            if found != digest:
                partial.unlink()
                raise ValueError(f"canonical data {digest} has digest {found} in the store")
            partial.rename(path)
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process of this node at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
