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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_advice import AT_ONCE, SETS, run

RANKINGS, HELD_OUT = 160, 200
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

    def one(seed: int) -> dict[str, dict[str, Any]]:
        work = replace(WORK, seed=seed)
        common = {"held_out": HELD_OUT, "ranked": True}
        done = {PAIRS: run(work, {**common, "settings": {"loss": "sigmoid", "batch_size": 96}})}
        for name, own in ARMS.items():
            done[name] = run(work, {**common, "settings": own, "budget": done[PAIRS]["tokens"]})
        for name, each in done.items():
            print(
                f"  seed {seed} {name}: any two {each['order']:.3f}, the pair {each['rewards']:.3f}, "
                f"{each['steps']} steps, {each['tokens']:,} tokens",
                flush=True,
            )
        return done

    with ThreadPoolExecutor(AT_ONCE) as pool:
        by_seed = list(pool.map(one, options.seeds))
    found = {name: [done[name] for done in by_seed] for name in by_seed[0]}
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
