"""Four answers against one better one, as a list and as four pairs: python benchmarks/bench_lists.py. Goal >= 3.5 x.

The same rankings (prompts and answers of hh-helpful, five answers each) train whole with `s_dpo`, and as four pairs
each with `sigmoid`: our pairs (which share a prompt too, but two answers at a time), and TRL's at its best. Arms take
turns; the reference is known to all.
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

RANKINGS, NEGATIVES, BATCH = 48, 4, 16
LIST = Work("lists", 4_096, pairs=RANKINGS, batch=BATCH, loss="s_dpo")
PAIRS = Work("lists", 4_096, pairs=RANKINGS, batch=BATCH * NEGATIVES)
ARMS: dict[str, tuple[str, Work, dict[str, Any]]] = {
    "lists": ("ours", LIST, {}),
    "our pairs": ("ours", PAIRS, {}),
    "TRL's pairs": ("trl", PAIRS, {"best": True, "micro": 1}),
}


def run(name: str, work: Work, arm: dict[str, Any]) -> float:
    """Rankings a second, without the first step."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arms.run", name, json.dumps(asdict(work)), json.dumps(arm)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} {arm} failed:\n{done.stderr.decode()[-3000:]}")
    steps: list[float] = json.loads(done.stdout.splitlines()[-1])["steps"]
    if len(steps) != RANKINGS // BATCH:
        raise SystemExit(f"{name}: {len(steps)} steps")
    return (len(steps) - 1) * BATCH / sum(steps[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found: dict[str, list[float]] = {name: [] for name in ARMS}
    for number in range(options.rounds):
        for name, arm in ARMS.items():
            found[name].append(run(*arm))
            print(f"  round {number + 1}/{options.rounds} {name}: {found[name][-1]:.2f} rankings/s", flush=True)
    middle = {name: statistics.median(values) for name, values in found.items()}
    print("| arm | rankings/s | lists are faster |\n|---|--:|--:|")
    for name, rate in middle.items():
        print(f"| {name} | {rate:.2f} | {middle['lists'] / rate:.2f} x |")


if __name__ == "__main__":
    main()
