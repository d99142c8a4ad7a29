"""When a bad line of a large file is told, beside how long the file would take: python benchmarks/bench_first_error.py.

`palate train` on the same file twice: good (all is sent, checked by the service, and a job made), and with one bad
line, which the process beside the upload finds. The peer is the way of the fine-tuning APIs: send all, then hear.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import inputs
import live

BAD_LINE = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    size = parser.parse_args().mib * live.MIB
    with live.folder() as scratch, live.running(scratch / "home") as service:
        path = inputs.pairs(scratch / "pairs.jsonl", seed=1, size=size, words=100)
        with service.client() as client:
            began = time.perf_counter()
            sent = inputs.upload(client, path)
            uploaded = time.perf_counter() - began
            inputs.checked(client, sent, lambda: None)
            heard = time.perf_counter() - began
            client.delete(f"/files/{sent}").raise_for_status()
        spoil(path)
        first, ended = told(service, path)
    live.table(
        (f"{size / live.MIB:.0f} MiB of pairs, seconds from the start", ""),
        [
            ("the whole file is sent", f"{uploaded:.1f}"),
            ("sent, then checked by the service: its first word", f"{heard:.1f}"),
            (f"`palate train`: the bad line {BAD_LINE} is told", f"{first:.1f}"),
            ("`palate train`: all is read, and it ends", f"{ended:.1f}"),
        ],
    )
    live.verdict(f"The first error is told {heard / first:.0f} x sooner than by sending all and asking then")


def spoil(path: Path) -> None:
    """Its length stays."""
    with path.open("r+b") as stream:
        for _ in range(BAD_LINE - 1):
            stream.readline()
        stream.seek(stream.tell())
        stream.write(b"[")


def told(service: live.Service, path: Path) -> tuple[float, float]:
    """Seconds to the first line about it, and to the end."""
    known = {**os.environ, "PALATE_BASE_URL": f"{service.url}/v1", "PALATE_API_KEY": service.api_key}
    began = time.perf_counter()
    command = [sys.executable, "-m", "cli.main", "train", str(path), "--model", "none"]
    with subprocess.Popen(command, cwd=live.ROOT, env=known, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        seconds = time.perf_counter() - began
        rest = process.stderr.read()
    if f"line {BAD_LINE}: " not in first or "is not sent" not in rest:
        raise SystemExit(f"not what was expected: {first}{rest}")
    return seconds, time.perf_counter() - began


if __name__ == "__main__":
    main()
