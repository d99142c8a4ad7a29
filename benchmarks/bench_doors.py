"""What the doors of the API cost: bounded heads and connections, and a bucket a key, beside an API without them.

The same service, database and Valkey behind each; the arms take turns, in another order each round. Closed: 16
connections that never rest. Open: 150 requests a second that come when they come. Client and service share the cores,
so what the API's process used of a CPU for each request holds better than the rate. At the end, ten senders without a
key: JSON of a MiB that is costly to parse, again and again; what /healthz takes meanwhile. Goal < 50 ms (p99).
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import live
from bench_api import quantile, seconds_of
from openloop import Client, arrivals

PATH = "/v1/models"
CONNECTIONS = 16
PROBES = 150.0
SENDERS = 10
COSTLY = b"[" + b"[]," * (349 << 10) + b"[]]"
# uvicorn's own connection in place of ours.
OPEN = """
import api.__main__ as served
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
served.Connection = lambda *given, admission, **named: HttpToolsProtocol(*given, **named)
served.main()
"""
NO_LIMIT = {"PALATE_REQUESTS_PER_SECOND": "0"}
WIDE = {"PALATE_REQUESTS_PER_SECOND": "100000", "PALATE_REQUESTS_BURST": "200000"}
ARMS = {
    "without": (["-c", OPEN], NO_LIMIT),
    "heads": (["-m", "api"], NO_LIMIT),
    "heads and buckets": (["-m", "api"], WIDE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4, help="of each arm in each round, closed and open")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with live.folder() as scratch, live.running(scratch / "home") as service, ExitStack() as opened:
        arms = {
            name: opened.enter_context(api(service, command, more, scratch / f"{name}.log"))
            for name, (command, more) in ARMS.items()
        }
        asyncio.run(measure(service.api_key, arms, asked))


@contextmanager
def api(service: live.Service, command: list[str], more: dict[str, str], log: Path) -> Iterator[tuple[str, int]]:
    """Its address, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(port), "--log-level", "warning"],
            cwd=live.ROOT,
            env={**os.environ, **service.environment, "PALATE_DOWNLOADS": "auto", **more},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + live.READY_SECONDS
        while not alive(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


async def measure(key: str, arms: dict[str, tuple[str, int]], asked: argparse.Namespace) -> None:
    draw = random.Random(7)
    rates, cpu, late = (defaultdict[str, list[float]](list) for _ in range(3))
    for number in range(asked.rounds + 1):
        for name in draw.sample(list(arms), len(arms)):
            url, pid = arms[name]
            client = Client(url, key)
            before = seconds_of(pid)
            count, passed = await closed(client, asked.seconds)
            used = seconds_of(pid) - before
            calls = (("", partial(client.json, "GET", PATH)) for _ in range(round(PROBES * asked.seconds)))
            found, _ = await arrivals(calls, rate=PROBES, draw=draw)
            client.close()
            if number:  # the first round warms them up
                rates[name].append(count / passed)
                cpu[name].append(1e6 * used / count)
                late[name] += found[""]
    rows = []
    for name in arms:
        figures = [f"{middle(of[name]):.0f} ({min(of[name]):.0f} to {max(of[name]):.0f})" for of in (rates, cpu)]
        rows.append((name, *figures, *(f"{quantile(late[name], percent):.1f}" for percent in (50, 99))))
    live.table((f"GET {PATH}", "requests/s", "CPU µs a request", "p50 ms", "p99 ms"), rows)
    told = [
        f"{name}: {middle(cpu[name]) / middle(cpu['without']):.2f} x the CPU a request, "
        f"{quantile(late[name], 99) / quantile(late['without'], 99):.2f} x the p99"
        for name in arms
        if name != "without"
    ]
    probes = await under_senders(int(arms["heads and buckets"][0].rpartition(":")[2]), 2 * asked.seconds)
    told.append(f"/healthz with {SENDERS} senders without a key: p99 {quantile(probes, 99):.1f} ms")
    live.verdict(f"{'; '.join(told)}; {asked.rounds} rounds of {asked.seconds:g} s each")


async def under_senders(port: int, seconds: float) -> list[float]:
    """Milliseconds of /healthz."""
    context = multiprocessing.get_context("spawn")
    sender = context.Process(target=send_without_a_key, args=(port,), daemon=True)
    sender.start()
    await asyncio.sleep(2)
    client = Client(f"http://127.0.0.1:{port}", "none")
    calls = (("", partial(client.json, "GET", "/healthz")) for _ in range(round(50 * seconds)))
    found, _ = await arrivals(calls, rate=50, draw=random.Random(7))
    client.close()
    sender.kill()
    sender.join()
    return found[""]


def send_without_a_key(port: int) -> None:
    head = "POST /v1/fine_tuning/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(COSTLY)}\r\n\r\n".encode() + COSTLY

    def send() -> None:
        while True:
            with socket.create_connection(("127.0.0.1", port)) as wire:
                wire.sendall(request)
                if not wire.recv(1 << 16).startswith(b"HTTP/1.1 401 "):
                    raise SystemExit("somebody was let in without a key")

    for _ in range(SENDERS):
        threading.Thread(target=send, daemon=True).start()
    threading.Event().wait()


async def closed(client: Client, seconds: float) -> tuple[int, float]:
    """How many were answered, and in how many seconds."""
    began = time.perf_counter()

    async def one() -> int:
        count = 0
        while time.perf_counter() - began < seconds:
            await client.json("GET", PATH)
            count += 1
        return count

    counts = await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return sum(counts), time.perf_counter() - began


def middle(values: list[float]) -> float:
    return quantile(values, 50)


if __name__ == "__main__":
    main()
