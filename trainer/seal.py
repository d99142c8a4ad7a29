"""A folder that is either whole or not there: written beside its name, sealed by renaming."""

import os
import shutil
from pathlib import Path

from core.contract import manifest
from core.contract.manifest import Manifest


def open_folder(final: Path) -> Path:
    """An empty `final`.tmp; what an earlier, cut-off try left there goes."""
    partial = final.with_name(final.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def close_folder(partial: Path, contents: Manifest) -> Path:
    """Manifest, then everything on the disk, then the name. Returns the sealed folder."""
    for entry in contents.files:
        flush(partial / entry.path)
    manifest.write(partial, contents)
    flush(partial)
    final = partial.with_suffix("")
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    flush(final.parent)
    return final


def flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
