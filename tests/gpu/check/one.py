"""One part in a process of its own: `python -m tests.gpu.check.one PLACE ASKED_JSON OUT`. OUT gets its outcome."""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core import processes
from tests.gpu.check.part import Asked, NotHere, Seen, Wrong


@dataclass(frozen=True)
class Part:
    """`seconds`: it is ended after so many. `place`: module and function."""

    name: str
    what: str
    seconds: int
    place: str
    by_default: bool = True


PARTS = [
    Part(
        "numbers",
        "attention, layouts, head and their gradients (pytest tests/gpu)",
        180,
        "tests.gpu.check.pytests:numbers",
    ),
    Part(
        "layers",
        "a norm and an MLP of an 8B's width, plain and fused: speed, memory, bits",
        120,
        "tests.gpu.check.layers:measure",
    ),
    Part(
        "launch",
        "ranks of a warm trainer add up through NCCL; a run from each launcher",
        180,
        "tests.gpu.check.starts:launch",
    ),
    Part(
        "lora8b",
        "a random 8B: LoRA of 20 steps, every gate, both exports, verified",
        360,
        "tests.gpu.check.training:lora",
    ),
    Part(
        "resume", "a run, and the same cut in two: bit for bit, in each layout", 240, "tests.gpu.check.pytests:resume"
    ),
    Part(
        "full8b",
        "a random 8B: all weights over 2 and more GPUs, drained, resumed",
        540,
        "tests.gpu.check.training:full",
    ),
    Part(
        "arms",
        "speed beside TRL at its defaults and at its best",
        540,
        "tests.gpu.check.arms:measure",
        by_default=False,
    ),
]


def main(place: str, asked: Asked, out: Path) -> None:
    # With whoever asked for the part it dies, and whatever it starts with it.
    processes.die_with_parent()
    os.environ["PALATE_SUPERVISOR"] = str(processes.this_process())
    module, _, function = place.partition(":")
    try:
        act: Callable[[Asked], Seen] = getattr(importlib.import_module(module), function)
        told = {"outcome": "right", **act(asked).told()}
    except NotHere as missing:
        told = {"outcome": "skipped", "said": str(missing), "figures": []}
    except Wrong as wrong:
        told = {"outcome": "failed", "said": str(wrong), "figures": []}
    # The one place where whatever else goes wrong becomes a part's outcome.
    except Exception as error:
        traceback.print_exc()
        told = {"outcome": "failed", "said": f"{type(error).__name__}: {error}", "figures": []}
    out.write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Asked.model_validate_json(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.flush()
    sys.stderr.flush()
    # DeepSpeed's and gloo's threads would hold up the interpreter's end.
    os._exit(0)
