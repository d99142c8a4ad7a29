"""The manifest of a folder of artifacts: path, bytes and sha256 of each file, and what belongs to the whole."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from core import beneath
from core.contract.errors import PalateError
from core.contract.failpoints import durable

NAME = "manifest.json"
CHUNK = 1 << 20
# Of one manifest, and what it may list.
LIMIT_BYTES, LIMIT_FILES = 64 << 20, 100_000
RelativePath = Annotated[str, AfterValidator(beneath.relative)]


class ManifestMismatch(PalateError):
    """A file is missing, has another size, or another sha256 than the manifest says."""

    code = "manifest_mismatch"


class FileEntry(BaseModel):
    """One file: `path` below the manifest's folder, with forward slashes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: RelativePath
    bytes: int = Field(ge=0, lt=1 << 63)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """`meta` holds what decides the content (step, world size, digests, …); no id of a job, no time."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    v: int = 1
    files: list[FileEntry] = Field(max_length=LIMIT_FILES)
    meta: dict[str, Any] = {}

    @field_validator("files")
    @classmethod
    def each_once(cls, files: list[FileEntry]) -> list[FileEntry]:
        if len({file.path for file in files}) != len(files):
            raise ValueError("a path stands there twice")
        return files

    def digest(self) -> str:
        """sha256 (hex) over paths, sizes and hashes: the name of this content. `meta` is about it and not in it."""
        rows = sorted((f.path, f.bytes, f.sha256) for f in self.files)
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
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
    """Raises FileNotFoundError, ManifestMismatch for one that is not to be believed."""
    try:
        return Manifest.model_validate_json(beneath.read(folder, NAME, LIMIT_BYTES))
    except beneath.NotBeneath as error:
        raise ManifestMismatch(error.message) from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ManifestMismatch(f"{NAME} is not a valid manifest: {where}: {fault['msg']}.") from error


def verify(folder: Path, manifest: Manifest) -> None:
    """Raises ManifestMismatch at the first file that is not what the manifest says."""
    for entry in manifest.files:
        with open_entry(folder, entry) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != entry.bytes:
                raise ManifestMismatch(f"{entry.path} has {size} bytes, expected {entry.bytes}.")
            if sha256_stream(stream) != entry.sha256:
                raise ManifestMismatch(f"{entry.path} does not have the expected sha256 {entry.sha256}.")


def open_entry(folder: Path, entry: FileEntry) -> BinaryIO:
    """To read it. Raises ManifestMismatch for what is not there, and for what a link leads to."""
    try:
        return beneath.open_file(folder, entry.path)
    except FileNotFoundError as error:
        raise ManifestMismatch(f"{entry.path} is missing.") from error
    except beneath.NotBeneath as error:
        raise ManifestMismatch(error.message) from error
