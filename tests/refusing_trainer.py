"""The real trainer on a disk that keeps what it is given with the last bit of each file's last tensor turned over.

`python tests/refusing_trainer.py --spec run.json`; only the finished model's files are on it.
"""

import runpy
from pathlib import Path

from torch import Tensor

from trainer.export import Stream

put = Stream.put


def spoiled(stream: Stream, path: Path, portion: list[bytes | Tensor]) -> None:
    before = path.stat().st_size if path.exists() else 0
    put(stream, path, portion)
    if stream.digests is not None and before == 0:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size - 1)
            (last,) = file.read(1)
            file.seek(size - 1)
            file.write(bytes([last ^ 1]))


if __name__ == "__main__":
    Stream.put = spoiled  # type: ignore[method-assign]
    runpy.run_module("trainer", run_name="__main__", alter_sys=True)
