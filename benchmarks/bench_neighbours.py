"""What a project feels of its neighbour: GET a job and create one, alone and beside another project's noise.

The neighbour has 16 connections that ask without pause (lists, and one bad line of a file with 10,000), 8 uploads that
trickle, 2 files whose answers have thousands of turns, and 2,000 waiting requests. Goals, of the p99 alone: GET at most
the larger of 2 x and 50 ms, create at most the larger of 2 x and 150 ms. Client, noise and service share the cores.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import inputs
import live
from bench_api import JOBS, MODEL, quantile
from openloop import Client, arrivals

from core.db import keys, projects
from core.db.engine import transaction

CONNECTIONS, UPLOADS, HOSTILE, WAITERS = 16, 8, 2, 2_000
TURNS, BAD_LINES = 3_001, 10_000
GOALS = {"GET job": 50.0, "create": 150.0}
RATE = 30.0
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="slow"\r\n\r\n'
AGAIN_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2_000, help="of both together, alone and beside")
    parser.add_argument("--waiters", type=int, default=WAITERS)
    parser.add_argument("--noise", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.noise:
        asyncio.run(noise(**json.loads(asked.noise)))
        return
    with live.folder() as scratch, live.running(scratch / "home") as service:
        measure(service, scratch, asked)


def measure(service: live.Service, scratch: Path, asked: argparse.Namespace) -> None:
    inputs.tiny_model(service, MODEL, scratch / "model", known=True)
    with service.database(), transaction() as session:
        token = keys.create(session, projects.ensure(session, "neighbour").id)[1]
    noisy = live.Service(service.home, service.process, service.url, token)
    with service.client() as client, noisy.client() as other:
        bodies = [body_of(each, scratch / f"{n}.jsonl") for n, each in enumerate((client, other))]
        jobs = [
            each.post(JOBS[3:], json=body).raise_for_status().json()["id"]
            for each, body in zip((client, other), bodies, strict=True)
        ]
        bad = uploaded(other, "".join(f"not JSON {n}\n" for n in range(BAD_LINES)).encode())
        inputs.checked(other, bad)
        before = asyncio.run(sampled(service, jobs[0], bodies[0], asked.samples))
        told = {"url": service.url, "token": token, "job": jobs[1], "bad": bad, "waiters": asked.waiters}
        command = [sys.executable, __file__, "--noise", json.dumps(told)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as neighbour:
            assert neighbour.stdin is not None
            assert neighbour.stdout is not None
            live.say(f"the neighbour: {neighbour.stdout.readline().strip()}")
            hostile(other)
            checks = time.perf_counter()
            inputs.checked(client, inputs.upload(client, inputs.pairs(scratch / "small.jsonl", seed=9, count=40)))
            checks = time.perf_counter() - checks
            beside = asyncio.run(sampled(service, jobs[0], bodies[0], asked.samples))
            neighbour.stdin.close()
            live.say(f"what it was told: {neighbour.stdout.read().strip()}")
    rows, held = [], []
    for name, least in GOALS.items():
        p50, p99 = ([quantile(each[name], percent) for each in (before, beside)] for percent in (50, 99))
        goal = max(2 * p99[0], least)
        held.append(
            f"{name} p99 {p99[1]:.0f} ms beside, {p99[0]:.0f} alone ({'within' if p99[1] <= goal else 'over'} "
            f"its goal of {goal:.0f})"
        )
        figures = [f"{each:.1f}" for each in (*p50, *p99, p99[1] / p99[0], goal)]
        rows.append((name, len(beside[name]), *figures))
    head = ("", "requests", "p50 alone ms", "beside", "p99 alone ms", "beside", "ratio", "goal ms")
    live.table(head, rows)
    live.verdict("; ".join(held) + f"; a file of 40 lines is checked in {checks:.1f} s beside")


def body_of(client: httpx.Client, pairs: Path) -> dict[str, Any]:
    """Of a job of more ranks than there are: it stays in the queue."""
    file = inputs.upload(client, inputs.pairs(pairs, seed=1, count=100))
    if inputs.checked(client, file)["status"] != "processed":
        raise SystemExit("the file was refused")
    return {"model": MODEL, "training_file": file, "palate": {"resources": {"gpus": 64}}}


def uploaded(client: httpx.Client, body: bytes) -> str:
    answer = client.post("/files", data={"purpose": "fine-tune"}, files={"file": ("x.jsonl", body)})
    return str(answer.raise_for_status().json()["id"])


def hostile(client: httpx.Client) -> None:
    """Files whose inspection takes long: each turn of the answer is rendered with all before it."""
    for number in range(HOSTILE):
        turns = [{"role": ("assistant", "user")[n % 2], "content": f"{number} {n}"} for n in range(TURNS)]
        asked = [{"role": "user", "content": "begin"}]
        rows = [{"prompt": asked, "chosen": turns, "rejected": [*turns[:-1], {"role": "assistant", "content": "no"}]}]
        rows += [{"prompt": f"{number} {n}", "chosen": f"yes {n}", "rejected": "no"} for n in range(20)]
        file = uploaded(client, "".join(json.dumps(row) + "\n" for row in rows).encode())
        client.post(JOBS[3:], json={"model": MODEL, "training_file": file, "palate": {"resources": {"gpus": 64}}})


async def sampled(service: live.Service, job: str, body: dict[str, Any], count: int) -> dict[str, list[float]]:
    draw, client = random.Random(7), Client(service.url, service.api_key)

    def calls() -> Any:
        for number in range(count):
            mine = body | {"metadata": {"number": str(draw.random())}}
            create = partial(client.json, "POST", JOBS, mine)
            yield ("create", create) if number % 4 == 0 else ("GET job", partial(client.json, "GET", f"{JOBS}/{job}"))

    found, _ = await arrivals(calls(), rate=RATE, draw=draw)
    client.close()
    return found


async def noise(url: str, token: str, job: str, bad: str, waiters: int) -> None:
    """Until the standard input ends; says when all of it has begun, and at the end what it was answered."""
    told: Counter[str] = Counter()
    client = Client(url, token)
    version = (await client.json("GET", f"{JOBS}/{job}"))["palate"]["version"]
    asks = (f"/v1/files/{bad}/errors?limit=1", "/v1/files", JOBS, f"/v1/files/{bad}/errors.jsonl")
    running = [asyncio.create_task(asking(url, token, asks, told)) for _ in range(CONNECTIONS)]
    running += [asyncio.create_task(trickling(url, token, told)) for _ in range(UPLOADS)]
    wait = f"{JOBS}/{job}?wait=60&since={version}"
    running += [asyncio.create_task(waiting(client, wait, told)) for _ in range(waiters)]
    await asyncio.sleep(AGAIN_SECONDS)
    print(f"{CONNECTIONS} connections, {UPLOADS} uploads, {waiters} waiters", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    print(", ".join(f"{name} {count}" for name, count in sorted(told.items())), flush=True)


async def asking(url: str, token: str, paths: tuple[str, ...], told: Counter[str]) -> None:
    client = Client(url, token)
    while True:
        for path in paths:
            status, _ = await client.call("GET", path)
            told[f"asked {status}"] += 1


async def waiting(client: Client, path: str, told: Counter[str]) -> None:
    """Who is not let wait comes again later."""
    while True:
        began = time.monotonic()
        try:
            status, _ = await client.call("GET", path)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        told[f"waited {status}"] += 1
        if time.monotonic() - began < AGAIN_SECONDS:
            await asyncio.sleep(AGAIN_SECONDS)


async def trickling(url: str, token: str, told: Counter[str]) -> None:
    parts = httpx.URL(url)
    while True:
        reader, writer = await asyncio.open_connection(parts.host, parts.port)
        head = (
            f"POST /v1/files HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Length: 999999999\r\n"
        )
        kind = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 999999999\r\n\r\n"
        writer.write(head.encode() + kind + FORM)
        answer = asyncio.create_task(reader.readline())
        while not answer.done():
            writer.write(b"x" * 1_200)
            await asyncio.wait([answer], timeout=1)
        told[f"uploaded {answer.result()[9:12].decode()}"] += 1
        writer.close()
        await asyncio.sleep(1)


if __name__ == "__main__":
    main()
