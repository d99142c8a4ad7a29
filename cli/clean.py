"""`palate clean FILE --drop WHAT,… --out NEW`: a new file without some rows; the source stays as it is."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.contract.errors import BadInput
from preferences.cleaning.clean import Removed, clean


def run(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    record = out.with_name(out.name + ".removed.jsonl")
    drop = [name.strip().replace("-", "_") for name in arguments.drop.split(",") if name.strip()]
    try:
        with new(out) as target, new(record) as list_of_removed:

            def note(removed: Removed) -> None:
                list_of_removed.write(removed.model_dump_json(exclude_none=True).encode() + b"\n")

            done = clean(arguments.file, target, drop, removed=note, format=arguments.format)
    except OSError as error:
        raise BadInput(
            f"{error.filename or arguments.file}: {error.strerror or error}.", code="file_unreadable"
        ) from error
    went = ", ".join(f"{count:,} {name}" for name, count in sorted(done.removed.items())) or "nothing"
    print(f"{out}: {done.kept:,} of {done.rows:,} rows; removed: {went}. What went is in {record}")
    return 0


@contextmanager
def new(path: Path) -> Iterator[BinaryIO]:
    """There when it is whole; never in place of a file that is there already."""
    if path.exists():
        raise BadInput(f"{path} is there already; name a new file.", code="file_exists")
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as target:
            yield target
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
