"""Speed, memory and held-out accuracy on a real model and real pairs against TRL: python benchmarks/bench_real.py.

SmolLM2-135M-Instruct (demo.smollm2) in fp32, full weights and LoRA of r 16 (TRL with PEFT, the same A at the start),
on pairs of hh-helpful. TRL at its best: no recompute, the reference precomputed, pairs by length, its head on scored
positions, the fastest micro-batch; at its defaults once, on fewer pairs. Arms take turns, each run a process of its
own; first and second job as in bench_training. Losses must agree, or there is no figure. Every run is kept in a file,
so that the benchmark can go on: `--minutes M` starts no run after so many.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import bench_quality, bench_training  # noqa: E402
from benchmarks.arms.work import DATA, Work  # noqa: E402
from demo import smollm2  # noqa: E402

MICRO = (1, 2, 4)
AGREE = 1e-4
SEEDS = 3
HELD_OUT = 64
GOALS = {"speed": 1.8, "memory": 0.9}


class Enough(Exception):
    """The minutes of this go are over."""


class Runs:
    """Results by (test, arm and round), each made once and kept in `path`."""

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.until = path, time.monotonic() + 60 * minutes
        self.known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, run: Callable[..., dict[str, Any]], *arguments: Any) -> Any:
        if name not in self.known:
            if time.monotonic() > self.until:
                raise Enough
            before, began = os.getloadavg()[0], time.monotonic()
            self.known[name] = {**run(*arguments), "load": before}
            self.path.write_text(json.dumps(self.known))
            print(f"  {name}: {time.monotonic() - began:.0f} s, load {before:.1f} before", flush=True)
        return self.known[name]


def works(data: str, pairs: int, batch: int) -> dict[str, Work]:
    full = Work(data, vocab=49_152, pairs=pairs, batch=batch, longest=1024, learning_rate=1e-6, real=True)
    return {"full": full, "LoRA": replace(full, lora=16, learning_rate=1e-5)}


def speed(title: str, work: Work, rounds: int, runs: Runs, default: bool) -> None:
    """Prints a table and the ratios."""

    def trl(micro: int, number: int) -> Any:
        arm = {"best": True, "micro": micro}
        return runs.get(f"{title}, TRL, micro {micro}, {number}", bench_training.run, "trl", work, arm)

    arms: dict[str, list[Any]] = {"ours": [], "TRL best": []}
    searched = {micro: bench_training.rates(trl(micro, 0), work)[1] for micro in MICRO if micro <= work.batch}
    best = max(searched, key=lambda micro: searched[micro])
    for number in range(rounds):
        arms["ours"].append(runs.get(f"{title}, ours, {number}", bench_training.run, "ours", work, {}))
        arms["TRL best"].append(trl(best, number))
    if default:
        fewer = replace(work, pairs=2 * work.batch)
        kind, arm = bench_training.DEFAULT
        arms["TRL default"] = [runs.get(f"{title}, TRL default", bench_training.run, kind, fewer, arm)]
    apart = max(abs(a - b) for a, b in zip(arms["ours"][0]["losses"], arms["TRL best"][0]["losses"], strict=True))
    if apart > AGREE:
        raise SystemExit(f"The arms do not train the same: losses differ by {apart:.1e}.")
    print(f"== {title}: {asdict(work)}")
    speeds = {micro: round(each, 2) for micro, each in searched.items()}
    print(f"  TRL's pairs/s by micro-batch: {speeds}; losses agree to {apart:.1e}")
    print("  | arm | first job, pairs/s | second job, pairs/s | peak of the process, MiB |\n  |---|--:|--:|--:|")
    found = {}
    for name, made in arms.items():
        rates = zip(*(bench_training.rates(each, work) for each in made), strict=True)
        first, second = (statistics.median(each) for each in rates)
        found[name] = first, second, statistics.median(each["peak"] for each in made) / 2**20
        print(f"  | {name} | {first:.2f} | {second:.2f} | {found[name][2]:.0f} |")
    for peer in list(found)[1:]:
        first, second, peak = (a / b for a, b in zip(found["ours"], found[peer], strict=True))
        print(f"  ours / {peer}: first {first:.2f} x, second {second:.2f} x, memory {peak:.2f} x")
    print(f"  goals against TRL at its best: speed {GOALS['speed']} x, memory {GOALS['memory']} x")


def quality(title: str, work: Work, runs: Runs) -> None:
    """Held-out accuracy of the rewards after equal steps, by seed."""
    print(f"== {title}, held out: {asdict(work)}, {HELD_OUT} pairs")
    gaps = []
    for seed in range(SEEDS):
        seeded, after = replace(work, seed=seed), dict[str, float]()
        for arm in ("ours", "trl"):
            extra = {"held_out": HELD_OUT, "micro": 2, "before": False}
            made = runs.get(f"{title}, quality, {arm}, seed {seed}", bench_quality.run, arm, seeded, extra)
            after[arm] = 100 * made["after"]["rewards"]
        gaps.append(after["ours"] - after["trl"])
        print(f"  seed {seed}: ours {after['ours']:.1f}, TRL {after['trl']:.1f}")
    print(f"  ours - TRL: {statistics.mean(gaps):+.2f} points, most {max(map(abs, gaps)):.2f} (goal: within 0.5)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "hh-helpful.train.jsonl.gz", help="pairs, as hh-helpful's")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "bench_real.json")
    parser.add_argument("--only", choices=["full", "LoRA", "full quality", "LoRA quality"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--default", action="store_true", help="TRL at its defaults too")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: {options.data} is not there; --data names the pairs to compare on")
        return
    try:
        smollm2.folder()
    except smollm2.Unavailable as error:
        print(f"skipped: {error}")
        return
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    runs = Runs(options.results, options.minutes)
    try:
        for name, work in works(str(options.data.resolve()), options.pairs, options.batch).items():
            if options.only in (None, name):
                speed(name, work, options.rounds, runs, options.default and not work.lora)
            if options.only in (None, f"{name} quality"):
                rate = 5e-5 if work.lora else 5e-6
                quality(name, replace(work, pairs=24, batch=8, longest=128, learning_rate=rate), runs)
    except Enough:
        print(f"  The minutes are over: call again to go on ({options.results} holds {len(runs.known)} runs).")


if __name__ == "__main__":
    main()
