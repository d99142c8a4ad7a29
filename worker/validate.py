"""The child process of a validation Task: one local file in, its report and canonical records out.

Exit code 0 means that a report was written, whatever its verdict; every other code is a crash.
"""

import argparse
import os
import resource
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core import processes
from core.contract.errors import PalateError
from core.contract.exits import Exit
from core.disk import is_full, rename
from preferences.check import OnError, check_file
from preferences.report import Report
from preferences.samples import samples


def main(argv: list[str] | None = None) -> int:
    given = _arguments(argv)
    # The checks' linear algebra is small; a pool of threads as large as the machine would eat the address space.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if given.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (given.memory_bytes, given.memory_bytes))
    try:
        asked = Asked.model_validate_json(given.asked.read_bytes()) if given.asked else Asked()
        validate(given.source, given.canonical, given.report, asked)
    except MemoryError:
        print("validate: out of the memory that it was given", file=sys.stderr)
        return int(Exit.INFRASTRUCTURE)
    except (OSError, ValidationError, PalateError) as error:
        print("no_space: the disk is full" if is_full(error) else f"validate: {error}", file=sys.stderr)
        return int(Exit.INFRASTRUCTURE)
    return 0


class Asked(BaseModel):
    """`name`: the file's in the report, default that of the source; `mapping`: canonical field to column or path."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    format: str | None = None
    mapping: dict[str, Any] | None = None
    raw_text: bool = False
    on_error: OnError = "fail"
    max_bad_fraction: float = 0.0


def validate(source: Path, out: Path, written: Path, asked: Asked) -> Report:
    """Both outputs appear whole or not at all; the canonical one only when the file may be used."""
    unsealed = out.with_name(out.name + ".part")
    out.unlink(missing_ok=True)
    try:
        with unsealed.open("wb") as canonical:
            report = check_file(
                source,
                format=asked.format,
                mapping=asked.mapping,
                raw_text=asked.raw_text,
                on_error=asked.on_error,
                max_bad_fraction=asked.max_bad_fraction,
                canonical=canonical,
            )
            canonical.flush()
            os.fsync(canonical.fileno())
        if report.usable:
            rename(unsealed, out)
            report.samples = samples(out, report.checks, report.elements)
    finally:
        unsealed.unlink(missing_ok=True)
    if asked.name:
        report.file = asked.name
    _write(written, report.model_dump_json())
    return report


def _write(path: Path, text: str) -> None:
    unsealed = path.with_name(path.name + ".part")
    with unsealed.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    rename(unsealed, path)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker.validate", description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--canonical", type=Path, required=True, help="zstd stream of the usable records")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--asked", type=Path, help="JSON of Asked: what the user chose")
    parser.add_argument("--memory-bytes", type=int, default=4 << 30, help="limit of the address space; 0 for none")
    return parser.parse_args(argv)


if __name__ == "__main__":
    processes.die_with_parent(os.getppid())
    sys.exit(main())
