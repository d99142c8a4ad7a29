"""Reading and checking by line: python benchmarks/bench_reading.py [--pairs N]. Goal: 50,000 short pairs/s a core.

Canonical records are written and counted as in a validation, without the report's checks. Beside it the time in which
`json.loads` alone parses the same lines: what no reader in Python can be below. The best of three, in processor time.
"""

import argparse
import io
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from preferences.check import check_file  # noqa: E402

ROUNDS = 3


def rows(pairs: int) -> dict[str, list[dict[str, Any]]]:
    draw = random.Random(1)
    words = [f"w{number}" for number in range(5000)]

    def text(count: int) -> str:
        return " ".join(draw.choices(words, k=count))

    def said(role: str, count: int) -> list[dict[str, str]]:
        return [{"role": role, "content": text(count)}]

    return {
        "plain_triple": [{"prompt": text(10), "chosen": text(15), "rejected": text(15)} for _ in range(pairs)],
        "openai_preference": [
            {
                "input": {"messages": said("user", 10)},
                "preferred_output": said("assistant", 15),
                "non_preferred_output": said("assistant", 15),
            }
            for _ in range(pairs)
        ],
    }


def best(work: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def check(data: bytes, pairs: int) -> None:
    report = check_file(io.BytesIO(data), canonical=io.BytesIO(), checks="none")
    assert report.counts.usable == pairs, report.error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    pairs = parser.parse_args().pairs
    print(f"load {os.getloadavg()[0]:.2f}")
    for name, made in rows(pairs).items():
        lines = [json.dumps(row).encode() + b"\n" for row in made]
        data = b"".join(lines)
        ours = best(lambda data=data: check(data, pairs))
        peer = best(lambda lines=lines: [json.loads(line) for line in lines] and None)
        print(
            f"{name}: {len(data) // pairs} bytes a pair, {pairs / ours:,.0f} pairs/s a core "
            f"({len(data) / ours / 1e6:.1f} MB/s), json.loads alone {pairs / peer:,.0f}/s, ratio {ours / peer:.1f}"
        )


if __name__ == "__main__":
    main()
