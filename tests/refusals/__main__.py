"""`make refusals N=200 SEED=1`: jobs of real pairs on the real model, each from its probe to its verified export.

The four of fp32 and bf16, all weights and LoRA, by turns; losses, files, seeds and lengths are drawn by SEED and the
job's number, so that parts may be run apart: --from. A job's longest answer has 1 to 1,000 tokens, evenly by the
logarithm, the others up to that.
Ends with 1 where a job was refused or failed.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from demo import smollm2
from tests.launch import alone
from tests.refusals.jobs import FILES, LONGEST, Job, Pairs, job, spec
from tests.support import warm


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first job's number")
    parser.add_argument("--files", nargs="+", default=list(FILES), choices=FILES)
    parser.add_argument("--pairs", type=int, default=2, help="of each step")
    parser.add_argument("--longest", type=int, default=LONGEST, help="tokens of an answer; fewer are quicker")
    asked = parser.parse_args(argv)
    numbers = range(asked.first, asked.first + asked.jobs)
    jobs = [job(number, asked.seed, asked.files, asked.pairs, asked.longest) for number in numbers]
    print(f"seed {asked.seed}, jobs {numbers.start} to {numbers.stop - 1}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="palate-refusals-"))
    try:
        with alone(), warm.node(folder / "node"):
            ends = run_all(jobs, folder)
    finally:
        shutil.rmtree(folder)
    print(table(jobs, ends), flush=True)
    return 1 if any(ended.code for ended, _ in ends) else 0


def run_all(jobs: list[Job], folder: Path) -> list[tuple[warm.Ended, float]]:
    """How each ended, and its seconds."""
    from transformers import AutoTokenizer

    model = smollm2.folder()
    tokenizer = AutoTokenizer.from_pretrained(model)
    pairs: dict[str, Pairs] = {}
    ends: list[tuple[warm.Ended, float]] = []
    for each in jobs:
        if each.file not in pairs:
            pairs[each.file] = Pairs(each.file, tokenizer)
        made = spec(each, pairs[each.file].drawn(each), model, folder / str(each.number))
        began = time.monotonic()
        ends.append((warm.run(made, seconds=1_800), time.monotonic() - began))
        shutil.rmtree(made.workspace)
        ended, seconds = ends[-1]
        left = (len(jobs) - len(ends)) * statistics.mean(taken for _, taken in ends)
        word = "ended well" if ended.code == 0 else f"exit code {ended.code}: {ended.reason}"
        print(f"{each.number:4d} {seconds:6.1f} s  {each.told}: {word}  ({left / 60:.0f} min left)", flush=True)
    return ends


def table(jobs: list[Job], ends: list[tuple[warm.Ended, float]]) -> str:
    """By precision and kind of weights."""
    lines = ["| | jobs | refused or failed | seconds a job |", "|---|--:|--:|--:|"]
    for precision, lora in dict.fromkeys((each.precision, each.lora) for each in jobs):
        mine = [end for each, end in zip(jobs, ends, strict=True) if (each.precision, each.lora) == (precision, lora)]
        bad = sum(ended.code != 0 for ended, _ in mine)
        mean = statistics.mean(seconds for _, seconds in mine)
        lines.append(f"| {precision}, {'LoRA' if lora else 'all weights'} | {len(mine)} | {bad} | {mean:.1f} |")
    bad = sum(ended.code != 0 for ended, _ in ends)
    return "\n".join([*lines, f"| all | {len(ends)} | {bad} | {statistics.mean(s for _, s in ends):.1f} |"])


if __name__ == "__main__":
    sys.exit(main())
