"""The process that reads one Parquet file: `python -m preferences.parquet_child MEMORY CPU_SECONDS`, JSON lines out."""

import datetime
import decimal
import json
import math
import os
import resource
import sys
from typing import Any

from core import processes
from preferences.parquet_rows import DAMAGED, TOO_LARGE

BATCH_ROWS = 1000
BATCH_BYTES = 16 << 20


def main(memory: int, cpu_seconds: int) -> int:
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_CORE, 0)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        with os.fdopen(os.dup(0), "rb") as source:
            source.seek(0)
            file = pq.ParquetFile(source, pre_buffer=False)
            for batch in file.iter_batches(batch_size=_rows_of_a_batch(file.metadata), use_threads=False):
                _write(batch.to_pylist())
    except MemoryError:
        return TOO_LARGE
    except BrokenPipeError:
        return 0
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return DAMAGED
    return 0


def _limit(what: int, most: int) -> None:
    """Never above what this process was given."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _rows_of_a_batch(metadata: Any) -> int:
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    each = max(1, size // max(1, metadata.num_rows))
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES // each)))


def _write(rows: list[dict[str, Any]]) -> None:
    out = sys.stdout.buffer
    for row in rows:
        out.write(json.dumps(_plain(row), ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
    out.flush()


def _plain(value: Any) -> Any:
    """As JSON has it: absent fields of a struct are left out, and a missing number is null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value) if value.is_finite() else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)


if __name__ == "__main__":
    processes.die_with_parent(os.getppid())
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
