"""A folder that is either whole or not there: written beside its name by all ranks, sealed by rank 0 by renaming.

A rank whose part is on the disk says so by a file, rank-N.files.json; whoever waits for it needs no collective.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from core.contract import manifest
from core.contract.manifest import FileEntry, Manifest, sha256_file
from core.disk import flush, flush_names, rename
from trainer.failures import Infrastructure

PATIENCE = 1800.0
LOOK_SECONDS = 0.02
ENTRIES = TypeAdapter(list[FileEntry])


def unfinished(final: Path) -> Path:
    """Where `final` is written before it is sealed."""
    return final.with_name(final.name + ".tmp")


def open_folder(final: Path) -> Path:
    """An empty `final`.tmp; what an earlier, cut-off try left there goes."""
    partial = unfinished(final)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def write_part(partial: Path, rank: int, paths: Sequence[Path]) -> None:
    """These files are this rank's share: to the disk with them, then into rank-N.files.json with their sha256."""
    for path in paths:
        flush(path)
    entries = [
        FileEntry(path=path.relative_to(partial).as_posix(), bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in paths
    ]
    name = part_name(partial, rank)
    half = name.with_suffix(".tmp")
    half.write_bytes(ENTRIES.dump_json(entries))
    rename(half, name)


def part_name(partial: Path, rank: int) -> Path:
    return partial / f"rank-{rank}.files.json"


def all_parts(
    partial: Path, ranks: int, given_up: Callable[[], bool], patience: float = PATIENCE
) -> list[FileEntry] | None:
    """Waits for every rank's part; their entries by path, or None once `given_up`. The files that told go."""
    deadline = time.monotonic() + patience
    entries: list[FileEntry] = []
    for rank in range(ranks):
        part = part_name(partial, rank)
        while not part.exists():
            if given_up():
                return None
            if time.monotonic() > deadline:
                raise Infrastructure(f"Rank {rank} did not write its part of {partial.name} in {patience:.0f} s.")
            time.sleep(LOOK_SECONDS)
        entries += ENTRIES.validate_json(part.read_bytes())
    for rank in range(ranks):
        part_name(partial, rank).unlink()
    return sorted(entries, key=lambda entry: entry.path)


def when_whole(partial: Path, ranks: int, meta: dict[str, Any], given_up: Callable[[], bool]) -> bool:
    """Waits for all parts and seals; False where it was given up before that."""
    entries = all_parts(partial, ranks, given_up)
    if entries is None:
        return False
    close_folder(partial, Manifest(files=entries, meta=meta))
    return True


def close_folder(partial: Path, contents: Manifest) -> Path:
    """Of files that are on the disk: the manifest, their names, then the folder's own. Returns the sealed folder."""
    manifest.write(partial, contents)
    flush_names(partial)
    final = partial.with_suffix("")
    if final.exists():
        shutil.rmtree(final)
    rename(partial, final)
    flush(final.parent)
    return final
