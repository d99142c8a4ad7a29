"""Pairs a second and peak memory against TRL, at its defaults and at its best: python benchmarks/bench_training.py.

Arms take turns, each run a process of its own; warm-up steps are left out. First job: the reference pass counts (TRL's
default computes it in each step); second job: it is known already. Losses must agree, or there is no figure. TRL at
its defaults runs once, in the first round: it takes minutes, and is far beyond any spread.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.arms.work import Work  # noqa: E402

WARM_UP = 1
DEFAULT = ("trl", {"best": False, "micro": 8})
TESTS = {
    "hh, vocabulary 32,768": Work("hh", 32_768, pairs=64, batch=16),
    "hh, vocabulary 4,096": Work("hh", 4_096, pairs=64, batch=16),
    "ultra, vocabulary 32,768": Work("ultra", 32_768, pairs=48, batch=16),
}


def run(name: str, work: Work, arm: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arms.run", name, json.dumps(asdict(work)), json.dumps(arm)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} {arm} failed:\n{done.stderr.decode()[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rates(found: dict[str, Any], work: Work) -> tuple[float, float]:
    """Pairs a second of the first job and of a second one."""
    steps = found["steps"][WARM_UP:]
    pairs = len(steps) * work.batch
    training = sum(steps)
    reference = found["reference"] * pairs / work.pairs
    return pairs / (training + reference), pairs / training


def best_micro(work: Work) -> int:
    """Of 1..16 by one run each."""
    speeds = {}
    for micro in (1, 2, 4, 8, 16):
        speeds[micro] = rates(run("trl", work, {"best": True, "micro": micro}), work)[1]
    print("  TRL at its best, pairs/s by micro-batch:", {k: round(v, 2) for k, v in speeds.items()}, flush=True)
    return max(speeds, key=lambda micro: speeds[micro])


def measure(title: str, work: Work, rounds: int) -> None:
    print(f"== {title}: {asdict(work)}", flush=True)
    arms = {
        "TRL default": DEFAULT,
        "TRL best": ("trl", {"best": True, "micro": best_micro(work)}),
        "ours": ("ours", {}),
    }
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for number in range(rounds):
        for name, (kind, arm) in arms.items():
            if name == "TRL default" and number:
                continue
            runs[name].append(run(kind, work, arm))
            print(f"  round {number + 1}/{rounds} {name}: {rates(runs[name][-1], work)[1]:.2f} pairs/s", flush=True)
    apart = max(abs(a - b) for a, b in zip(runs["ours"][0]["losses"], runs["TRL best"][0]["losses"], strict=True))
    if apart > 1e-4:
        raise SystemExit(f"The arms do not train the same: losses differ by {apart:.1e}.")
    print(f"  losses agree to {apart:.1e}; our layout: {runs['ours'][0]['layout']}")
    medians = {
        name: [statistics.median(values) for values in zip(*(rates(r, work) for r in found), strict=True)]
        for name, found in runs.items()
    }
    memory = {name: statistics.median(r["memory"] for r in found) / 2**20 for name, found in runs.items()}
    print("  | arm | first job, pairs/s | second job, pairs/s | peak memory, MiB |\n  |---|--:|--:|--:|")
    for name, (first, second) in medians.items():
        print(f"  | {name} | {first:.2f} | {second:.2f} | {memory[name]:.0f} |")
    for peer in ("TRL default", "TRL best"):
        first, second = (a / b for a, b in zip(medians["ours"], medians[peer], strict=True))
        print(
            f"  ours / {peer}: first {first:.2f} x, second {second:.2f} x, memory {memory['ours'] / memory[peer]:.2f} x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="a word of the test's title")
    options = parser.parse_args()
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for title, work in TESTS.items():
        if not options.only or options.only in title:
            measure(title, work, options.rounds)


if __name__ == "__main__":
    main()
