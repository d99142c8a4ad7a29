"""The manifest of a folder of artifacts: path, bytes and sha256 of each file, and what belongs to the whole."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.contract.errors import PalateError
from core.contract.failpoints import durable

NAME = "manifest.json"
CHUNK = 1 << 20


class ManifestMismatch(PalateError):
    """A file is missing, has another size, or another sha256 than the manifest says."""

    code = "manifest_mismatch"


class FileEntry(BaseModel):
    """One file: `path` relative to the manifest's folder, with forward slashes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """`meta` holds what decides the content (step, world size, digests, …); no id of a job, no time."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    v: int = 1
    files: list[FileEntry]
    meta: dict[str, Any] = {}

    def digest(self) -> str:
        """sha256 (hex) over paths, sizes and hashes: the name of this content. `meta` is about it and not in it."""
        rows = sorted((f.path, f.bytes, f.sha256) for f in self.files)
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def build(folder: Path, **meta: Any) -> Manifest:
    """The manifest of every file below `folder` (but a manifest itself), sorted by path."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / NAME)
    files = [
        FileEntry(path=p.relative_to(folder).as_posix(), bytes=p.stat().st_size, sha256=sha256_file(p)) for p in paths
    ]
    return Manifest(files=files, meta=meta)


@durable
def write(folder: Path, manifest: Manifest) -> None:
    """Durably: the content reaches the disk before the name does."""
    partial = folder / (NAME + ".tmp")
    with partial.open("w") as stream:
        stream.write(manifest.model_dump_json(indent=1))
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(folder / NAME)


def read(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / NAME).read_bytes())


def verify(folder: Path, manifest: Manifest) -> None:
    """Raises ManifestMismatch at the first file that is not what the manifest says."""
    for entry in manifest.files:
        path = folder / entry.path
        if not path.is_file():
            raise ManifestMismatch(f"{entry.path} is missing.")
        if path.stat().st_size != entry.bytes:
            raise ManifestMismatch(f"{entry.path} has {path.stat().st_size} bytes, expected {entry.bytes}.")
        if sha256_file(path) != entry.sha256:
            raise ManifestMismatch(f"{entry.path} does not have the expected sha256 {entry.sha256}.")
