"""A 1 GiB artifact: published as a checkpoint by a process like the supervisor, downloaded through the API.

Downloads by redirect to the store (the default) and through the API (`PALATE_DOWNLOADS=proxy`). The peer is boto3's
`upload_file` and `download_file` of the same bytes; interleaved, the median of three.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import inputs
import live

from core.contract import manifest as manifests
from local import ports, programs

ROUNDS = 3
FILE = "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    size = parser.parse_args().mib * live.MIB
    with live.folder() as scratch, live.running(scratch / "home") as service, proxying(service) as proxy:
        live.say(f"writing {size // live.MIB} MiB of noise")
        source = inputs.noise(scratch / FILE, size)
        figures = Figures(service, proxy, scratch, source)
        for number in range(1, ROUNDS + 1):
            figures.round()
            live.say(f"round {number}: " + ", ".join(f"{name} {s[-1]:.1f} s" for name, s in figures.seconds.items()))
        figures.show(size)


class Figures:
    def __init__(self, service: live.Service, proxy: str, scratch: Path, source: Path) -> None:
        self.service, self.proxy, self.scratch, self.source = service, proxy, scratch, source
        self.seconds: dict[str, list[float]] = {}
        self.growth: dict[str, list[int]] = {}
        self.peer, self.bucket = service.boto3(), service.environment["S3_BUCKET"]
        self.api = {"redirect": live.Peak(service.pid("-m api")), "proxy": live.Peak(uvicorn(proxy))}

    def round(self) -> None:
        there, target = (self.bucket, "bench/plain"), self.scratch / "downloaded"
        self._took("boto3 upload_file", live.timed(lambda: self.peer.upload_file(str(self.source), *there)))
        done = publish(self.service, self.source, self.scratch)
        self._took("publish", done["seconds"], done["growth"])
        self._took("boto3 download_file", live.timed(lambda: self.peer.download_file(*there, str(target))))
        self.peer.delete_object(Bucket=self.bucket, Key=there[1])
        for way, url in (("redirect", self.service.url), ("proxy", self.proxy)):
            self.api[way].begin()
            seconds = live.timed(lambda url=url: download(url, done, target))
            self._took(way, seconds, self.api[way].growth())
            if target.stat().st_size != self.source.stat().st_size:
                raise SystemExit(f"{way}: not all bytes came")
        target.unlink()

    def _took(self, name: str, seconds: float, growth: int | None = None) -> None:
        self.seconds.setdefault(name, []).append(seconds)
        if growth is not None:
            self.growth.setdefault(name, []).append(growth)

    def show(self, size: int) -> None:
        rates = {name: live.rate(size, seconds) for name, seconds in self.seconds.items()}
        rows = []
        for name, each in rates.items():
            grown = [f"+{growth / live.MIB:.0f}" for growth in self.growth.get(name, [])]
            rows.append((name, f"{each:.0f}", ", ".join(grown)))
        live.table((f"{size / live.GIB:.2f} GiB", "MiB/s", "peak above rest, each round, MiB"), rows)
        live.verdict(
            f"Publishing runs at {rates['publish'] / rates['boto3 upload_file']:.2f} x plain boto3, downloading at "
            f"{rates['redirect'] / rates['boto3 download_file']:.2f} x (redirect) and "
            f"{rates['proxy'] / rates['boto3 download_file']:.2f} x (through the API)"
        )


def publish(service: live.Service, source: Path, scratch: Path) -> dict[str, Any]:
    """Of a folder of its own, as the trainer seals it: the publisher removes it."""
    folder = scratch / "workspace" / "step-1"
    folder.mkdir(parents=True)
    os.link(source, folder / FILE)
    manifests.write(folder, manifests.build(folder, step=1))
    command = [sys.executable, str(Path(__file__).with_name("publishing.py")), str(folder.parent), folder.name]
    done = subprocess.run(command, env={**os.environ, **service.environment}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def download(url: str, done: dict[str, Any], target: Path) -> None:
    headers = {"authorization": f"Bearer {done['token']}"}
    with httpx.Client(
        base_url=f"{url}/v1", headers=headers, timeout=600, follow_redirects=True, trust_env=False
    ) as client:
        listed = client.get(f"/fine_tuning/jobs/{done['job']}/checkpoints").raise_for_status().json()["data"]
        model = listed[0]["fine_tuned_model_checkpoint"]
        with client.stream("GET", f"/models/{model}/files/{FILE}") as answer, target.open("wb") as out:
            answer.raise_for_status()
            for piece in answer.iter_raw(live.MIB):
                out.write(piece)


@contextmanager
def proxying(service: live.Service) -> Iterator[str]:
    """A second API beside the stack's own, which hands out every byte itself."""
    port = ports.choose()
    known = programs.environment(service.home, service.environment, "bench")
    child = programs.api(service.home, {**known, "PALATE_DOWNLOADS": "proxy"}, "127.0.0.1", port)
    child.start()
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(url):
            if not child.alive:
                raise child.failure()
            time.sleep(0.1)
        yield url
    finally:
        child.stop()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def uvicorn(url: str) -> int:
    port = url.rpartition(":")[2]
    return next(pid for pid in live.tree(os.getpid()) if f"--port {port} " in live.command_line(pid))


if __name__ == "__main__":
    main()
