"""`palate pull MODEL DIR`: every file of a model, checked; what is there and right is not fetched again."""

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from cli.bar import moving
from cli.service import Service
from core.contract.errors import BadInput
from core.contract.manifest import FileEntry, ManifestMismatch, sha256_file


def run(arguments: argparse.Namespace) -> int:
    model, folder = f"/models/{quote(arguments.model, safe='')}", arguments.dir
    with Service.of(arguments.home) as service:
        entries = [entry_of(each) for each in service.raw(f"{model}/files")["data"]]
        wanted = [entry for entry in entries if not is_there(folder / entry.path, entry)]
        with moving(arguments.model, sum(entry.bytes for entry in wanted)) as moved:
            for entry in wanted:
                fetch(service, f"{model}/files/{quote(entry.path)}", folder / entry.path, entry, moved)
    total = sum(entry.bytes for entry in entries)
    print(f"{folder}: {len(entries)} files, {total:,} bytes; {len(wanted)} fetched, all with the right sha256")
    return 0


def entry_of(found: Any) -> FileEntry:
    """Refuses a path that leaves the folder, that no listing shows, or that shows as another, whoever sends it."""
    try:
        entry = FileEntry.model_validate(found)
    except ValidationError as error:
        named = ascii(found.get("path") if isinstance(found, dict) else found)[:200]
        raise BadInput(f"The service names a file outside the model's folder, or one that is none: {named}.") from error
    if not entry.path.isprintable() or any(part.startswith(".") for part in entry.path.split("/")):
        raise BadInput(f"The service names a file that no model has: {entry.path!a}.")
    return entry


def is_there(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.bytes and sha256_file(path) == entry.sha256


def fetch(service: Service, source: str, path: Path, entry: FileEntry, moved: Callable[[int], None]) -> None:
    """Under its name only when all of it is there and right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    digest, size = hashlib.sha256(), 0
    with service.stream(source) as chunks, partial.open("wb") as stream:
        for chunk in chunks:
            size += len(chunk)
            if size > entry.bytes:
                break
            stream.write(chunk)
            digest.update(chunk)
            moved(len(chunk))
    if size != entry.bytes:
        partial.unlink()
        than = "more" if size > entry.bytes else "fewer"
        raise ManifestMismatch(
            f"{entry.path} came with {than} bytes than the {entry.bytes:,} of its manifest; pull again."
        )
    if digest.hexdigest() != entry.sha256:
        partial.unlink()
        raise ManifestMismatch(f"{entry.path} came with another sha256 than its manifest says; pull again.")
    partial.replace(path)
