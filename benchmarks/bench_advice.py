"""Does the report's advice help? python benchmarks/bench_advice.py.

A fifth of the labels of real pairs is turned round. One run takes the file as it is, and its own reference pass says
how many labels seem wrong and which; the others do what it advises. All are judged on clean pairs that none has seen.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.arms.work import Work  # noqa: E402

SMALL: dict[str, Any] = {"vocab": 4_096, "hidden": 256, "layers": 4, "batch": 16, "pretraining": 200}
SETS = {
    "instruction-preference": Work("tone", pairs=480, longest=128, learning_rate=2e-4, **SMALL),
    "persona": Work("persona", pairs=480, longest=128, learning_rate=2e-4, **SMALL),
}
HELD_OUT, FLIPS = 400, 0.2
# Epochs of every arm: noise does its harm where it is learned by heart.
EPOCHS = 2
# Seeds side by side, a core each: only accuracies are measured here, no times.
AT_ONCE = 2


def run(work: Work, arm: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arms.advice", json.dumps(asdict(work)), json.dumps(arm)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--arms", nargs="+", help="of those in the table")
    options = parser.parse_args()
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, work in SETS.items():
        if options.only and options.only not in name:
            continue

        def one(seed: int, name: str = name, work: Work = work) -> dict[str, float]:
            found = {}
            for arm, told in arms(replace(work, seed=seed), options.epochs, options.arms):
                found[arm] = told["rewards"]
                print(f"  {name} seed {seed} {arm}: {told['rewards']:.3f}, {told['steps']} steps", flush=True)
            return found

        with ThreadPoolExecutor(AT_ONCE) as pool:
            by_seed = list(pool.map(one, options.seeds))
        rows = {arm: [found[arm] for found in by_seed] for arm in by_seed[0]}
        print(f"| {name} | {' | '.join(f'seed {seed}' for seed in options.seeds)} | mean | against as it is |")
        print(f"|---|{'--:|' * (len(options.seeds) + 2)}")
        for arm, values in rows.items():
            gain = 100 * (statistics.mean(values) - statistics.mean(rows["as it is"]))
            told = " | ".join(f"{value:.3f}" for value in values)
            print(f"| {arm} | {told} | {statistics.mean(values):.3f} | {gain:+.1f} points |", flush=True)


def turned(work: Work) -> set[int]:
    """Lines whose labels are wrong (as benchmarks.arms.advice draws them)."""
    draw = random.Random(work.seed)
    return {line for line in range(1, work.pairs + 1) if draw.random() < FLIPS}


def arms(work: Work, epochs: int, wanted: list[str] | None) -> Any:
    """Each arm's name and what it came to; the advice is that of the run on the file as it is."""
    common = {"held_out": HELD_OUT, "flips": FLIPS, "settings": {"n_epochs": epochs}}

    def asked(**more: Any) -> dict[str, Any]:
        return {**common, **more, "settings": common["settings"] | more.get("settings", {})}

    plain = run(work, asked())
    yield "as it is", plain
    flips = next(each for each in plain["findings"] if each["code"] == "suspected_flips")
    rate, lines = min(flips["value"], 0.49), flips["detail"]["lines"]
    wrong = turned(work)
    right = len(wrong & set(lines)) / max(1, len(lines))
    print(
        f"  seed {work.seed}: {flips['value']:.3f} of the labels seem wrong ({len(wrong) / work.pairs:.3f} are), "
        f"{len(lines)} listed, {right:.0%} of them rightly. {flips['action']}",
        flush=True,
    )
    others = {
        "label_smoothing at the measured rate": asked(settings={"label_smoothing": rate}),
        "robust at the measured rate": asked(settings={"loss": "robust", "label_smoothing": rate}),
        "suspects left out": asked(without=lines),
        "no flips (for comparison)": asked(flips=0.0),
    }
    for name, arm in others.items():
        if wanted is None or name.split()[0] in wanted:
            yield name, run(work, arm)


if __name__ == "__main__":
    main()
