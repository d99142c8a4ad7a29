"""One reading of a file of pairs in a process of its own: `python -m benchmarks.arms.report ARM FILE`."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def ours(path: Path, depth: Any) -> dict[str, Any]:
    from preferences.check import check_file

    report = check_file(path, checks=depth)
    assert report.error is None, report.error
    found = {each.code: each for each in report.checks}
    counts = report.counts
    return {
        "duplicates": found["exact_duplicates"].count if found else None,
        "contradictory": found["contradictions"].count if found else None,
        "prompts": found["prompt_coverage"].detail["distinct"] if found else None,
        "identical": counts.identical_pairs,
        "multi_turn": counts.multi_turn,
        "chosen_longer": counts.chosen_longer,
        "checks": len(report.checks),
    }


def theirs(path: Path) -> dict[str, Any]:
    """The same counts by hand: `datasets` reads the file, pandas counts."""
    import datasets
    import pandas as pd

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)
        frame = rows.to_pandas()
    prompt = frame["prompt"].map(lambda turns: "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns))
    chosen, rejected = (frame[name].map(lambda turns: turns[0]["content"]) for name in ("chosen", "rejected"))
    texts = pd.DataFrame({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    same = chosen == rejected
    useful = texts[~same]
    turned = useful.rename(columns={"chosen": "rejected", "rejected": "chosen"}).drop_duplicates()
    longer = chosen.str.len() - rejected.str.len()
    return {
        "duplicates": int(useful.duplicated().sum()),
        "contradictory": len(useful.merge(turned, on=["prompt", "chosen", "rejected"])),
        "prompts": int(useful["prompt"].nunique()),
        "identical": int(same.sum()),
        "multi_turn": int((frame["prompt"].map(lambda turns: sum(t["role"] == "user" for t in turns)) > 1).sum()),
        "chosen_longer": int((longer > 0).sum()),
        "lengths": [float(each.str.len().median()) for each in (prompt, chosen, rejected)],
    }


def main() -> None:
    arm, path = sys.argv[1], Path(sys.argv[2])
    begin, processor = time.perf_counter(), time.process_time()
    counts = theirs(path) if arm == "datasets + pandas" else ours(path, arm)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "processor": processor, "mib": peak, "counts": counts}))


if __name__ == "__main__":
    main()
