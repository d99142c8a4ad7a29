"""`make gpu-check`: whether Palate computes rightly on the GPUs of this machine, and how fast, without the service.

python -m tests.gpu.check [--parts numbers,launch,...] [--results FILE]. Each part is a process of its own with a limit
in seconds; the whole ends within --seconds, so that it fits a lease: what was not begun by then has failed.
Exit code 0: all right; 1: a part failed; 2: nothing was checked, since there is no GPU, or too few.
PALATE_GPU_TESTS_ON=cpu: on the CPU, for a look at the check itself, with models of --size tiny.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gpu.check.one import PARTS, Part
from tests.gpu.check.part import GB, Asked
from tests.gpu.check.shapes import SHAPES

ROOT = Path(__file__).resolve().parents[3]
LEAST_SECONDS = 10.0
FAILED, NOTHING = 1, 2
# Ranks where there is no GPU to count.
CPU_RANKS = 2


@dataclass(frozen=True)
class Outcome:
    part: Part
    outcome: str
    said: str
    figures: list[tuple[str, str]]
    seconds: float


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    if options.list:
        for part in PARTS:
            rest = "" if part.by_default else " (only where it is named)"
            print(f"{part.name:8s} at most {part.seconds} s: {part.what}{rest}")
        return 0
    chosen = [part for part in PARTS if part.name in options.parts]
    began = time.monotonic()
    on_cpu = os.environ.get("PALATE_GPU_TESTS_ON", "cuda") != "cuda"
    if on_cpu and options.size != "tiny":
        print("On the CPU this check is of --size tiny only.")
        return NOTHING
    here = facts()
    if not on_cpu and not here["devices"]:
        print(
            f"No GPU to check: {here['why']}. Compare nvidia-smi with torch's CUDA; PALATE_GPU_TESTS_ON=cpu with "
            "--size tiny looks at the check itself."
        )
        return NOTHING
    print(header(here, on_cpu, options), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="palate-gpu-check-", dir=options.folder))
    outcomes: list[Outcome] = []
    try:
        for number, part in enumerate(chosen, start=1):
            left = began + options.seconds - time.monotonic()
            print(f"== {number}/{len(chosen)} {part.name}: {part.what} ({left:.0f} s are left)", flush=True)
            outcomes.append(run(part, asked(options, here, on_cpu, folder), min(part.seconds, left)))
            print(f"   {outcomes[-1].outcome} after {outcomes[-1].seconds:.0f} s: {outcomes[-1].said}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told = report(outcomes, time.monotonic() - began)
    print(told)
    if options.results:
        options.results.write_text(f"# make gpu-check\n\n{header(here, on_cpu, options)}\n\n{told}\n")
    words = {each.outcome for each in outcomes}
    return FAILED if "failed" in words else 0 if "right" in words else NOTHING


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    usual = ",".join(part.name for part in PARTS if part.by_default)
    parser.add_argument("--parts", default=usual, help=f"of {','.join(names)}, by commas; {usual} where none is named")
    parser.add_argument("--list", action="store_true", help="the parts, and no more")
    parser.add_argument("--size", choices=["8b", "tiny"], default="8b")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="qwen3-8b", help="whose configuration")
    parser.add_argument("--profile", action="store_true", help="one step of lora8b by kinds of kernels")
    parser.add_argument("--results", type=Path, help="a file for the table, in markdown")
    parser.add_argument(
        "--folder", type=Path, help="where models and runs may take 60 GB; the system's for temporaries"
    )
    parser.add_argument("--seconds", type=float, default=570.0, help="of the whole")
    options = parser.parse_args(argv)
    options.parts = [name for name in (options.parts or usual).split(",") if name]
    unknown = [name for name in options.parts if name not in names]
    if unknown or not options.parts:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(names)}")
    return options


def facts() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.gpu.check.facts"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"devices": [], "why": f"torch does not start: {why}", "versions": {}, "nccl": "", "memory": 0}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def header(here: dict[str, Any], on_cpu: bool, options: argparse.Namespace) -> str:
    devices = [f"{name}, {size / GB:.0f} GB" for name, size in here["devices"]]
    kinds = dict.fromkeys(devices)
    told = "; ".join(f"{devices.count(kind)} x {kind}" for kind in kinds)
    where = f"the CPU, {CPU_RANKS} ranks where a part has several: no figure of a GPU" if on_cpu else told
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    nccl = f", NCCL {here['nccl']}" if here["nccl"] else ""
    return f"On {where}. {versions}{nccl}. Models: {options.shape}, size {options.size}."


def asked(options: argparse.Namespace, here: dict[str, Any], on_cpu: bool, folder: Path) -> Asked:
    sizes = [size for _, size in here["devices"]]
    return Asked(
        size=options.size,
        shape=options.shape,
        folder=folder,
        devices=CPU_RANKS if on_cpu else len(sizes),
        memory_bytes=here["memory"] if on_cpu else min(sizes),
        cuda=not on_cpu,
        profile=options.profile,
        until=0.0,
    )


def run(part: Part, given: Asked, seconds: float) -> Outcome:
    """In a session of its own, of which nothing is left afterwards."""
    if seconds < LEAST_SECONDS:
        return Outcome(part, "failed", "not begun: the time of the whole was over; name fewer --parts", [], 0.0)
    began = time.monotonic()
    given = given.model_copy(update={"until": began + seconds})
    out = given.folder / f"{part.name}.json"
    command = [sys.executable, "-m", "tests.gpu.check.one", part.place, given.model_dump_json(), str(out)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return Outcome(part, "failed", f"ended after {seconds:.0f} s, not done", [], time.monotonic() - began)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    taken = time.monotonic() - began
    if not out.exists():
        return Outcome(part, "failed", f"its process ended with {process.returncode}", [], taken)
    told = json.loads(out.read_text())
    return Outcome(part, told["outcome"], told["said"], [(a, b) for a, b in told["figures"]], taken)


def report(outcomes: list[Outcome], seconds: float) -> str:
    lines = ["", "| part | outcome | seconds | |", "|---|---|--:|---|"]
    for each in outcomes:
        lines.append(f"| {each.part.name} | {each.outcome} | {each.seconds:.0f} | {cell(each.said)} |")
    counts = [f"{sum(each.outcome == word for each in outcomes)} {word}" for word in ("right", "failed", "skipped")]
    lines.append(f"| all | {', '.join(counts)} | {seconds:.0f} | |")
    for each in outcomes:
        if each.figures:
            lines += ["", f"{each.part.name}: {each.part.what}", "", "| | |", "|---|---|"]
            lines += [f"| {cell(what)} | {cell(value)} |" for what, value in each.figures]
    return "\n".join(lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")


if __name__ == "__main__":
    sys.exit(main())
