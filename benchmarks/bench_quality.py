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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.arms.work import Work  # noqa: E402

SMALL: dict[str, Any] = {
    "vocab": 4_096,
    "hidden": 256,
    "layers": 4,
    "batch": 16,
    "learning_rate": 2e-4,
    "pretraining": 200,
}
SETS = {
    "hh-helpful": Work("hh", pairs=480, longest=256, **SMALL),
    "instruction-preference": Work("tone", pairs=480, longest=128, **SMALL),
    "persona": Work("persona", pairs=480, longest=128, **SMALL),
}
# of TRL: the fastest of bench_training's search on these lengths
MICRO = 4
HELD_OUT = 400


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
    print("Held-out accuracy of the rewards (of log pi in brackets); before training it is 0.5 by definition.")
    print("| data | seed | ours | TRL, equal steps | TRL, equal time | steps by then | ours, s | TRL, s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, work in SETS.items():
        if options.only and options.only not in name:
            continue
        gaps, leads = [], []
        for seed in range(options.seeds):
            work = replace(work, seed=seed)
            extra = {"held_out": HELD_OUT, "micro": MICRO}
            mine = run("ours", work, extra)
            theirs = run("trl", work, {**extra, "stop_after": mine["seconds"]})
            soon = theirs.get("at_time", theirs["after"])
            gaps.append(100 * (mine["after"]["rewards"] - theirs["after"]["rewards"]))
            leads.append(100 * (mine["after"]["rewards"] - soon["rewards"]))
            print(
                f"| {name} | {seed} | {told(mine['after'])}, from {mine['before']['logps']:.3f} | "
                f"{told(theirs['after'])} | {told(soon)} | {theirs.get('steps_at_time', '-')} | "
                f"{mine['seconds']:.1f} | {theirs['seconds']:.1f} |",
                flush=True,
            )
        print(
            f"{name}: ours - TRL at equal steps {statistics.mean(gaps):+.2f} points (by seed "
            f"{', '.join(f'{g:+.1f}' for g in gaps)}), at equal time {statistics.mean(leads):+.2f} "
            f"({', '.join(f'{g:+.1f}' for g in leads)})",
            flush=True,
        )


def told(accuracies: dict[str, float]) -> str:
    return f"{accuracies['rewards']:.3f} ({accuracies['logps']:.3f})"


if __name__ == "__main__":
    main()
