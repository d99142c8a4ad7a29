"""How well turned-round labels are found without a model's help: python benchmarks/bench_flips.py.

The second opinion (trainer/second_opinion.py) on real pairs of which a known share was turned round; what the base
model's margins would add is left out. One core.
"""

import os
import platform
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks.arms.work import make_tokenizer, records  # noqa: E402
from trainer.data import make_renderer, tokenise  # noqa: E402
from trainer.examples import answers  # noqa: E402
from trainer.second_opinion import opinion  # noqa: E402

SETS = {"instruction-preference": "tone", "persona": "persona", "hh-helpful": "hh"}
DOSES, SEEDS, PAIRS = (0.0, 0.05, 0.1, 0.2, 0.3), (0, 1, 2), 1_000


def main() -> None:
    print(platform.platform(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("Means of three seeds. Right: share of those listed that were turned; found: share of those turned, listed.")
    print("| data | pairs | turned | said to be | accuracy out of fold | listed | right | found | s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, short in SETS.items():
        pool = records(short)
        texts = [turn.content or "" for each in pool for said in (each.prompt, *answers(each)) for turn in said]
        examples = tokenise(make_renderer(make_tokenizer(texts, 4_096), []), pool, 2_048, "drop").examples
        for dose in DOSES:
            rows = []
            for seed in SEEDS:
                draw = random.Random(seed)
                some = draw.sample(examples, min(PAIRS, len(examples)))
                turned = np.array([draw.random() < dose for _ in some])
                seen_as = [replace(e, answers=e.answers[::-1]) if t else e for e, t in zip(some, turned, strict=True)]
                began = time.perf_counter()
                seen = opinion(seen_as, np.zeros((len(some), 1)), seed)
                seconds = time.perf_counter() - began
                assert seen is not None
                count = min(round(seen.flipped * len(some)), int((seen.odds < 0).sum()))
                right = float(turned[seen.places[np.argsort(seen.odds, kind="stable")[:count]]].sum())
                rows.append(
                    (
                        turned.mean(),
                        seen.flipped,
                        seen.accuracy,
                        count,
                        right / max(1, count),
                        right / max(1, turned.sum()),
                        seconds,
                    )
                )
            share, said, accuracy, count, precision, recall, seconds = (
                mean(column) for column in zip(*rows, strict=True)
            )
            print(
                f"| {name} | {len(some)} | {share:.3f} | {said:.3f} | {accuracy:.3f} | {count:.0f} | {precision:.0%} | "
                f"{recall:.0%} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
