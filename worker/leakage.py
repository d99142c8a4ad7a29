"""The child process of an inspection of held-out data: which of its prompts stand in the training data as well.

Exit code 0 means that the finding was written; every other code is a crash.
"""

import argparse
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from core import processes
from core.contract.exits import Exit
from core.contract.preference import AnyRecord, parse_record
from preferences.canonical import lines_of
from preferences.checks.leakage import leakage


def main(argv: list[str] | None = None) -> int:
    asked = _arguments(argv)
    # As in worker.validate: a pool of threads as large as the machine would eat the address space.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if asked.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (asked.memory_bytes, asked.memory_bytes))
    try:
        asked.out.write_text(leakage(records(asked.training), records(asked.validation)).model_dump_json())
    except (MemoryError, OSError) as error:
        print(f"leakage: {error or 'out of the memory that it was given'}", file=sys.stderr)
        return int(Exit.INFRASTRUCTURE)
    return 0


def records(canonical: Path) -> Iterator[AnyRecord]:
    return map(parse_record.validate_json, lines_of(canonical))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker.leakage", description=__doc__)
    for name in ("--training", "--validation", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--memory-bytes", type=int, default=4 << 30, help="limit of the address space; 0 for none")
    return parser.parse_args(argv)


if __name__ == "__main__":
    processes.die_with_parent(os.getppid())
    sys.exit(main())
