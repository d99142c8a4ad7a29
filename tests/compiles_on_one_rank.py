"""The real trainer on a node where the attention is to be compiled, and cannot be on rank 1: its compiler was killed.

`python -m tests.compiles_on_one_rank --spec run.json`.
"""

import os
import runpy

from trainer import compiles
from trainer.failures import Infrastructure

if __name__ == "__main__":
    compiles.DEVICES = ("cpu",)
    failed = Infrastructure("FlexAttention cannot be compiled on this node: killed.", code="not_compiled")
    compiles.tried = lambda device: failed if os.environ["RANK"] == "1" else None
    runpy.run_module("trainer", run_name="__main__", alter_sys=True)
