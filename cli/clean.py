"""`palate clean FILE --drop WHAT,… --out NEW`: a new file without some rows; the source stays as it is."""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.contract.errors import BadInput
from preferences.cleaning.clean import Removed, clean
from preferences.mapping import from_words


def run(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    record = out.with_name(out.name + ".removed.jsonl")
    drop = [name.strip().replace("-", "_") for name in arguments.drop.split(",") if name.strip()]
    lines = [*numbers(arguments.lines), *(suspects(arguments.suspects) if arguments.suspects else [])]
    mapping = from_words(arguments.mapping) if arguments.mapping else None
    try:
        with new(out) as target, new(record) as list_of_removed:

            def note(removed: Removed) -> None:
                list_of_removed.write(removed.model_dump_json(exclude_none=True).encode() + b"\n")

            done = clean(
                arguments.file,
                target,
                drop,
                removed=note,
                lines=lines,
                format=arguments.format,
                mapping=mapping,
                raw_text=arguments.raw_text,
            )
    except OSError as error:
        raise BadInput(
            f"{error.filename or arguments.file}: {error.strerror or error}.", code="file_unreadable"
        ) from error
    went = ", ".join(f"{count:,} {name}" for name, count in sorted(done.removed.items())) or "nothing"
    print(f"{out}: {done.kept:,} of {done.rows:,} rows; removed: {went}. What went is in {record}")
    return 0


def numbers(listed: str) -> list[int]:
    """Of `3,7-9`."""
    found: list[int] = []
    for each in filter(None, (word.strip() for word in listed.split(","))):
        if not (match := re.fullmatch(r"([1-9]\d{0,7})(?:-([1-9]\d{0,7}))?", each)):
            raise BadInput(f"--lines takes numbers and ranges of lines, as 3,7-9; `{each}` is neither.", param="lines")
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, last + 1)
    return found


def suspects(path: Path) -> list[int]:
    """The lines whose labels a report with a job's findings holds for turned round."""
    try:
        checks = json.loads(path.read_text())["checks"]
        found = next(each for each in checks if each["code"] == "suspected_flips")
        return [int(line) for line in found["detail"]["lines"]]
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise BadInput(
            f"{path} is no report with suspected flips. GET /v1/files/FILE/report?job=JOB gives one, once that job has "
            "made its reference pass.",
            param="suspects",
        ) from error


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
