"""Held-out pair accuracy against TRL, at equal steps and at equal time: python benchmarks/bench_quality.py.

On real pairs, with a model pretrained on the spot on the data's own text. For each of three seeds both arms train the
same global batches; then TRL's accuracy is taken where our run had ended.
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

SETS = {
    "hh-helpful": Work("hh", 2_048, hidden=128, layers=3, pairs=480, batch=16, longest=256, learning_rate=5e-4),
    "instruction-preference": Work(
        "tone", 2_048, hidden=128, layers=3, pairs=480, batch=16, longest=128, learning_rate=5e-4
    ),
    "persona": Work("persona", 2_048, hidden=128, layers=3, pairs=480, batch=16, longest=128, learning_rate=5e-4),
}
HELD_OUT = 200


def run(arm: str, work: Work, extra: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arms.quality", arm, json.dumps(asdict(work)), json.dumps(extra)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr.decode()[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="a word of the set's name")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("| data | seed | before | ours | TRL, equal steps | TRL, equal time (steps) | s ours | s TRL |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, work in SETS.items():
        if options.only and options.only not in name:
            continue
        gaps, leads = [], []
        for seed in range(options.seeds):
            work = Work(**{**asdict(work), "seed": seed})
            extra = {"held_out": HELD_OUT}
            mine = run("ours", work, extra)
            theirs = run("trl", work, {**extra, "stop_after": mine["seconds"]})
            gaps.append(100 * (mine["after"] - theirs["after"]))
            leads.append(100 * (mine["after"] - theirs["at_time"]))
            print(
                f"| {name} | {seed} | {mine['before']:.3f} | {mine['after']:.3f} | {theirs['after']:.3f} | "
                f"{theirs['at_time']:.3f} ({theirs['steps_at_time']}) | {mine['seconds']:.1f} | "
                f"{theirs['seconds']:.1f} |",
                flush=True,
            )
        print(
            f"{name}: ours - TRL at equal steps {statistics.mean(gaps):+.2f} points (by seed "
            f"{', '.join(f'{g:+.1f}' for g in gaps)}), at equal time {statistics.mean(leads):+.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
