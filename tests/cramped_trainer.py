"""The real trainer on a machine whose GPU seems small: a row above the tokens named in a file runs out of memory.

`python tests/cramped_trainer.py LIMIT_FILE --spec run.json`; without the file nothing is small.
"""

import runpy
import sys
from pathlib import Path

import torch
from torch import Tensor

from trainer.engine import Engine
from trainer.layouts import Batch

limit = Path(sys.argv.pop(1))
score = Engine.score


def cramped(engine: Engine, batch: Batch) -> Tensor:
    if limit.exists() and batch.ids.numel() > int(limit.read_text()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    return score(engine, batch)


if __name__ == "__main__":
    Engine.score = cramped  # type: ignore[method-assign]
    runpy.run_module("trainer", run_name="__main__", alter_sys=True)
