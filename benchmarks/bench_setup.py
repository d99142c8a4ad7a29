"""Set-up time: `palate up` on a new home, again on the same one, and its stop; the median of three.

With --fresh also `make setup` in a clone of its own: minutes, and a gigabyte or more from the package index
(INDEX=URL names another, as for make).
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import live

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true")
    fresh = parser.parse_args().fresh
    found: dict[str, list[float]] = {"first start": [], "later start": [], "stop": []}
    with live.folder() as scratch:
        if fresh:
            clone_and_set_up(scratch / "clone", found)
        for number in range(1, ROUNDS + 1):
            for name in ("first start", "later start"):
                start_and_stop(scratch / f"home-{number}", name, found)
            live.say(f"round {number}: " + ", ".join(f"{name} {seconds[-1]:.1f} s" for name, seconds in found.items()))
    middle = {name: statistics.median(seconds) for name, seconds in found.items()}
    live.table(("", "seconds"), [(name, f"{seconds:.1f}") for name, seconds in middle.items()])
    live.verdict(f"A first start takes {middle['first start'] / middle['later start']:.1f} x a later one")


def start_and_stop(home: Path, name: str, found: dict[str, list[float]]) -> None:
    began = time.perf_counter()
    service = live.start(home)
    found[name].append(time.perf_counter() - began)
    found["stop"].append(live.timed(lambda: live.stop(service)))


def clone_and_set_up(clone: Path, found: dict[str, list[float]]) -> None:
    subprocess.run(["git", "clone", "--quiet", str(live.ROOT), str(clone)], check=True)
    live.say("make setup in a fresh clone")
    found["make setup"] = [live.timed(lambda: subprocess.run(["make", "-s", "-C", str(clone), "setup"], check=True))]
    used = subprocess.run(["du", "-sm", str(clone / ".venv")], capture_output=True, text=True, check=True)
    live.say(f"the environment takes {used.stdout.split()[0]} MiB")


if __name__ == "__main__":
    main()
