"""The API with 100,000 jobs in the database, at 200 requests a second that come when they come: p50 and p99.

The mix: 60 % GET a job (half of them queued), 10 % list of 20, 15 % a job's events, 10 % POST a job, 5 % POST cancel.
Client and service share the cores. The peer is /healthz at the same rate in the same run.
"""

import argparse
import asyncio
import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import crowd
import inputs
import live
from openloop import Call, Client, arrivals

MODEL = "bench/tiny"
JOBS = "/v1/fine_tuning/jobs"
MIX = {"GET job": 60, "list of 20": 10, "events": 15, "POST job": 10, "POST cancel": 5}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--processes", type=int, default=1, help="of the API, on one port")
    asked = parser.parse_args()
    os.environ["PALATE_PROCESSES"] = str(asked.processes)
    with live.folder() as scratch, live.running(scratch / "home") as service:
        body = prepared(service, scratch, asked.jobs)
        asyncio.run(measure(service, body, asked))


def prepared(service: live.Service, scratch: Path, count: int) -> dict[str, Any]:
    """The body of a job whose like fill the database."""
    inputs.tiny_model(service, MODEL, scratch / "model", known=True)
    with service.client() as client:
        file = inputs.upload(client, inputs.pairs(scratch / "pairs.jsonl", seed=1, count=100))
        if inputs.checked(client, file)["status"] != "processed":
            raise SystemExit("the file was refused")
        body = {"model": MODEL, "training_file": file}
        # Of more ranks than there are: it stays in the queue, to be copied.
        first = client.post("/fine_tuning/jobs", json=body | {"palate": {"resources": {"gpus": 64}}})
        job = first.raise_for_status().json()["id"]
        while client.get(f"/fine_tuning/jobs/{job}").json()["status"] != "queued":
            time.sleep(0.1)
    began = time.perf_counter()
    crowd.fill(service.environment["DATABASE_URL"], job, count)
    live.say(f"{count:,} jobs, {5 * count:,} events in {time.perf_counter() - began:.0f} s")
    return body


async def measure(service: live.Service, body: dict[str, Any], asked: argparse.Namespace) -> None:
    draw = random.Random(7)
    client = Client(service.url, service.api_key)
    await arrivals(mixed(client, body, asked.jobs, 200, draw), rate=50, draw=draw)
    count = round(asked.rate * asked.seconds)
    floor, _ = await arrivals(
        (("healthz", partial(client.json, "GET", "/healthz")) for _ in range(count)), rate=asked.rate, draw=draw
    )
    used, began = cpu(service), time.perf_counter()
    found, seconds = await arrivals(mixed(client, body, asked.jobs, count, draw), rate=asked.rate, draw=draw)
    passed = time.perf_counter() - began
    shares = {name: (now - used[name]) / passed for name, now in cpu(service).items()}
    client.close()
    found["all"] = [each for values in found.values() for each in values]
    rows = [row(name, values) for name, values in {**floor, **found}.items()]
    live.table(("", "requests", "p50 ms", "p95 ms", "p99 ms", "most ms"), rows)
    live.say("cores used: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))
    live.verdict(
        f"{count / seconds:.0f} requests a second of {asked.rate:g} asked, {asked.jobs:,} jobs, "
        f"{asked.processes} of the API: p50 "
        f"{quantile(found['all'], 50):.1f} ms, p99 {quantile(found['all'], 99):.1f} ms; "
        f"{quantile(found['all'], 50) / quantile(floor['healthz'], 50):.1f} x healthz at the same rate"
    )


def mixed(
    client: Client, body: dict[str, Any], jobs: int, count: int, draw: random.Random
) -> Iterator[tuple[str, Call]]:
    """What is cancelled is each time another queued job."""
    queued = (n for n in iter(lambda: draw.randrange(jobs), None) if crowd.state_of(n) == "queued")
    seen: set[int] = set()
    for name in draw.choices(list(MIX), weights=list(MIX.values()), k=count):
        number = draw.randrange(1, jobs + 1)
        if (name in ("GET job", "POST cancel") and draw.random() < 0.5) or name == "POST cancel":
            number = next(n for n in queued if n not in seen)
        if name == "POST cancel":
            seen.add(number)
        one = f"{JOBS}/ftjob-bench{number}"
        calls: dict[str, Call] = {
            "GET job": partial(client.json, "GET", one),
            "list of 20": partial(client.json, "GET", JOBS),
            "events": partial(client.json, "GET", f"{one}/events"),
            "POST job": partial(client.json, "POST", JOBS, body | {"metadata": {"number": str(draw.random())}}),
            "POST cancel": partial(client.json, "POST", f"{one}/cancel"),
        }
        yield name, calls[name]


def row(name: str, values: list[float]) -> tuple[str, ...]:
    figures = [f"{quantile(values, percent):.1f}" for percent in (50, 95, 99)]
    return (name, str(len(values)), *figures, f"{max(values):.0f}")


def quantile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def cpu(service: live.Service) -> dict[str, float]:
    """Seconds that each part has used."""
    api, postgres = service.pid("-m api"), service.pid("/postgres ")
    return {
        "API": sum(map(seconds_of, live.tree(api))),
        "PostgreSQL": sum(map(seconds_of, live.tree(postgres))),
        "this client": seconds_of(os.getpid()),
    }


def seconds_of(pid: int) -> float:
    """Its own and those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(each) for each in fields[11:15]) / TICKS


if __name__ == "__main__":
    main()
