"""Rankings whole, or as their pairs, at equal tokens: python benchmarks/bench_ranked.py.

Rankings of four on real prompts: the preferred answer, the other one, and the two of another prompt. The pairs' run
takes an epoch of all six pairs of each; the list-wise ones go on until as many tokens have been fed. Judged on
rankings that none has seen: any two answers in the right order, and the two that the data was made of.
"""

import argparse
import os
import platform
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_advice import SETS, run

RANKINGS, HELD_OUT = 240, 300
WORK = replace(SETS["instruction-preference"], pairs=RANKINGS, longest=256)
PAIRS = "sigmoid, the six pairs (96 a batch)"
ARMS: dict[str, dict[str, Any]] = {
    "sigmoid, the six pairs (16 a batch)": {"loss": "sigmoid", "batch_size": 16},
    "plackett_luce, beta 1 (auto)": {"loss": "plackett_luce", "beta": 1.0},
    "plackett_luce, beta 0.1": {"loss": "plackett_luce", "beta": 0.1},
    "s_dpo, beta 1 (auto)": {"loss": "s_dpo", "beta": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        work = replace(WORK, seed=seed)
        common = {"held_out": HELD_OUT, "ranked": True}
        pairs = run(work, {**common, "settings": {"loss": "sigmoid", "batch_size": 96}})
        done = {PAIRS: pairs}
        done |= {name: run(work, {**common, "settings": own, "budget": pairs["tokens"]}) for name, own in ARMS.items()}
        for name, each in done.items():
            found.setdefault(name, []).append(each)
            print(
                f"  seed {seed} {name}: any two {each['order']:.3f}, the pair {each['rewards']:.3f}, "
                f"{each['steps']} steps, {each['tokens']:,} tokens, {each['seconds']:.0f} s",
                flush=True,
            )
    print("| arm | any two in order, by seed | mean | the pair itself, by seed | mean | steps | tokens |")
    print("|---|---|--:|---|--:|--:|--:|")
    for name, runs in found.items():
        told = []
        for figure in ("order", "rewards"):
            values = [each[figure] for each in runs]
            told += [" ".join(f"{value:.3f}" for value in values), f"{statistics.mean(values):.3f}"]
        print(f"| {name} | {' | '.join(told)} | {runs[0]['steps']} | {runs[0]['tokens']:,} |")


if __name__ == "__main__":
    main()
