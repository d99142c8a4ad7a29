"""LoRA in bf16 beside TRL, at its defaults and at its best: benchmarks.arms on pairs that are made here.

`flash-pref` over TRL is an arm where it can be imported; it has not run yet, here or on a GPU. ms-swift is none: it
reads, cuts and orders its data itself, and would have to be taught our tokens before its losses could be compared.
"""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import bench_training
from benchmarks.arms.work import Work
from tests.gpu.check import shapes
from tests.gpu.check.part import GB, Asked, NotHere, Progress, Seen, Wrong

# 1.3e9 weights: TRL at its defaults has room, too.
SIZES: dict[str, dict[str, int]] = {
    "8b": {"vocab": 128_256, "hidden": 2048, "layers": 16, "pairs": 128, "batch": 16},
    "tiny": {"vocab": 512, "hidden": 64, "layers": 2, "pairs": 12, "batch": 4},
}
MICRO = {"8b": (4, 16), "tiny": (4,)}
# Of the losses, in bf16: what is trained must be the same, or there is no figure.
AGREE = 2e-2


def measure(asked: Asked) -> Seen:
    missing = [name for name in ("trl", "datasets") if importlib.util.find_spec(name) is None]
    if missing:
        raise NotHere(f"{' and '.join(missing)} cannot be imported")
    data = written(asked.folder / "pairs.jsonl", SIZES[asked.size]["pairs"], asked.size)
    work = Work(str(data), longest=1024, learning_rate=1e-5, lora=16, **SIZES[asked.size])
    bf16 = {"precision": "bf16"}
    arms: dict[str, tuple[str, dict[str, Any]]] = {
        "ours": ("ours", bf16),
        "TRL default": ("trl", {**bf16, "best": False, "micro": min(8, work.batch)}),
    }
    for micro in MICRO[asked.size]:
        arms[f"TRL best, micro-batch {micro}"] = ("trl", {**bf16, "best": True, "micro": micro})
    if importlib.util.find_spec("flash_pref") is not None:
        most = max(MICRO[asked.size])
        arms["flash-pref over TRL"] = ("trl", {**bf16, "best": True, "micro": most, "flash_pref": True})
    progress, found = Progress(every=0.0), dict[str, Any]()
    for name, (kind, arm) in arms.items():
        progress.tell(name)
        try:
            found[name] = bench_training.run(kind, work, arm)
        except SystemExit as failed:
            raise Wrong(f"{name}: {str(failed)[-1500:]}") from None
    progress.end()
    seen = Seen("")
    seen.add("work", {name: value for name, value in asdict(work).items() if name != "data"})
    speeds = {}
    for name, made in found.items():
        apart = max(abs(a - b) for a, b in zip(found["ours"]["losses"], made["losses"], strict=True))
        if apart > AGREE:
            raise Wrong(f"ours and {name} do not train the same: losses differ by {apart:.1e}")
        first, speeds[name] = bench_training.rates(made, work)
        seen.add(
            name,
            f"{first:.2f} pairs/s in a first job, {speeds[name]:.2f} in a second one, {made['memory'] / GB:.2f} GB, "
            f"losses within {apart:.1e} of ours",
        )
    if "flash-pref over TRL" not in arms:
        seen.add("flash-pref over TRL", "flash_pref cannot be imported")
    seen.add("ms-swift, packed", "is no arm")
    best = max(speed for name, speed in speeds.items() if name.startswith("TRL best"))
    seen.said = (
        f"{speeds['ours']:.2f} pairs/s: {speeds['ours'] / best:.2f} x TRL at its best, "
        f"{speeds['ours'] / speeds['TRL default']:.2f} x at its defaults (a second job, one run each)"
    )
    return seen


def written(path: Path, count: int, size: str) -> Path:
    """As a user's file."""
    with path.open("w") as file:
        for each in shapes.pairs(count, size):
            said = {"prompt": each.prompt, "chosen": each.chosen, "rejected": each.rejected}
            file.write(json.dumps({name: turns[-1].content for name, turns in said.items()}) + "\n")
    return path
