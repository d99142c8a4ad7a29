"""The whole report of a million pairs: python benchmarks/bench_report.py [--pairs N]. Goal: memory that stays flat.

Against `datasets` and pandas counting repeats, contradictions, identical answers, several turns, lengths and prompts of
the same file; each in a process of its own, with its peak of memory. Ours runs on a quarter of the file too: what a
pair more costs. The counts of both must agree.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.preferences.checks.planted import answer, sentence  # noqa: E402

PEER = "datasets + pandas"
# Shares of repeats, of pairs that turn an earlier one round, of identical answers, of several turns, of known prompts.
REPEATS, TURNED, IDENTICAL, TURNS, KNOWN = 0.01, 0.002, 0.002, 0.3, 0.1


def write(path: Path, pairs: int) -> None:
    """Pairs of some 800 bytes, from a pool of sentences, with all the faults that are counted."""
    draw = random.Random(0)
    said = [answer(draw) for _ in range(50_000)]
    asked = [sentence(draw) for _ in range(50_000)]
    recent: list[dict[str, Any]] = []
    with path.open("w") as stream:
        for number in range(pairs):
            dice = draw.random()
            if recent and dice < REPEATS:
                row = draw.choice(recent)
            elif recent and dice < REPEATS + TURNED:
                row = dict(draw.choice(recent))
                row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
            else:
                row = pair(draw, number, asked, said, recent)
                if len(recent) < 20_000:
                    recent.append(row)
                else:
                    recent[draw.randrange(20_000)] = row
            stream.write(json.dumps(row) + "\n")


def pair(
    draw: random.Random, number: int, asked: list[str], said: list[str], recent: list[dict[str, Any]]
) -> dict[str, Any]:
    chosen, rejected = draw.choice(said), draw.choice(said)
    if draw.random() < IDENTICAL:
        rejected = chosen
    if recent and draw.random() < KNOWN:
        prompt = draw.choice(recent)["prompt"]
    else:
        prompt = [{"role": "user", "content": f"{draw.choice(asked)} Question {number}: why?"}]
        if draw.random() < TURNS:
            first = [
                {"role": "user", "content": draw.choice(asked)},
                {"role": "assistant", "content": draw.choice(said)},
            ]
            prompt = first + prompt
    answers = [[{"role": "assistant", "content": each}] for each in (chosen, rejected)]
    return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}


def run(arm: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.arms.report", arm, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr.decode()[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    pairs = parser.parse_args().pairs
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        whole, quarter = Path(folder) / "whole.jsonl", Path(folder) / "quarter.jsonl"
        write(whole, pairs)
        write(quarter, pairs // 4)
        print(f"{pairs:,} pairs, {whole.stat().st_size >> 20:,} MiB", flush=True)
        arms = [("none", quarter), ("quick", quarter), ("all", quarter), ("all", whole), (PEER, whole)]
        found = []
        print("| reading | pairs | seconds | of CPU | pairs/s | peak, MiB |\n|---|--:|--:|--:|--:|--:|")
        for arm, path in arms:
            got, count = run(arm, path), pairs if path == whole else pairs // 4
            found.append(got)
            cells = (
                f"{got['seconds']:.1f}",
                f"{got['processor']:.1f}",
                f"{count / got['seconds']:,.0f}",
                f"{got['mib']:.0f}",
            )
            print(f"| {arm} | {count:,} | {' | '.join(cells)} |", flush=True)
    small, large, peer = found[2:]
    growth = (large["mib"] - small["mib"]) * (1 << 20) / (pairs - pairs // 4)
    agree = {name: (large["counts"][name], peer["counts"][name]) for name in large["counts"] if name in peer["counts"]}
    wrong = {name: both for name, both in agree.items() if both[0] != both[1]}
    if wrong:
        raise SystemExit(f"ours and theirs count differently: {wrong}")
    print(f"counts agree: {large['counts']}; {growth:.0f} bytes a pair more")
    print(
        f"the whole report takes {large['seconds'] / peer['seconds']:.2f} x the time of {PEER} for its counts, "
        f"and {large['mib'] / peer['mib']:.2f} x the memory"
    )


if __name__ == "__main__":
    main()
