"""Create, read and list jobs over keep-alive HTTP, one at a time and 16 at once: p50 and p99 in milliseconds.

The peer is /healthz in the same run: what one request costs here before any of our work.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import httpx
import inputs
import live

MODEL = "bench/tiny"
REQUESTS = {1: 500, 16: 2_000}
Call = Callable[[int], Awaitable[httpx.Response]]


def main() -> None:
    with live.folder() as scratch, live.running(scratch / "home") as service:
        inputs.tiny_model(service, MODEL, scratch / "model")
        with service.client() as client:
            file = inputs.upload(client, inputs.pairs(scratch / "pairs.jsonl", seed=1, count=100))
            if inputs.checked(client, file)["status"] != "processed":
                raise SystemExit("the file was refused")
            body = {"model": MODEL, "training_file": file, "palate": {"resources": {"gpus": 64}}}
            first = client.post("/fine_tuning/jobs", json=body).raise_for_status().json()["id"]
            live.say("inspecting, so that every later job is queued at once (64 ranks fit nowhere: none starts)")
            while client.get(f"/fine_tuning/jobs/{first}").json()["status"] != "queued":
                time.sleep(0.1)
        asyncio.run(measure(service, body, first))


async def measure(service: live.Service, body: dict[str, object], job: str) -> None:
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
    headers = {"authorization": f"Bearer {service.api_key}"}
    async with httpx.AsyncClient(
        base_url=service.url, headers=headers, limits=limits, timeout=60, trust_env=False
    ) as client:
        jobs = "/v1/fine_tuning/jobs"
        calls: dict[str, Call] = {
            "healthz": lambda _: client.get("/healthz"),
            "read": lambda _: client.get(f"{jobs}/{job}"),
            "create": lambda n: client.post(jobs, json=body | {"metadata": {"number": str(n)}}),
            "read, long queue": lambda _: client.get(f"{jobs}/{job}"),
            "list of 20, long queue": lambda _: client.get(jobs),
        }
        rows, medians = [], {}
        for name, call in calls.items():
            await times(call, 50 if name != "create" else 1, 1)
            for at_once, count in REQUESTS.items():
                began = time.perf_counter()
                found = await times(call, count, at_once)
                each_second = count / (time.perf_counter() - began)
                p50, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
                medians[name, at_once] = p50
                rows.append((name, at_once, count, f"{p50:.1f}", f"{p99:.1f}", f"{each_second:.0f}"))
                live.say(f"{name}, {at_once} at once: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    live.table(("", "at once", "requests", "p50 ms", "p99 ms", "per s"), rows)
    floor = medians["healthz", 1]
    live.verdict(
        f"One at a time, create takes {medians['create', 1] / floor:.1f} x and read {medians['read', 1] / floor:.1f} x "
        f"healthz; the long queue has {sum(REQUESTS.values())} jobs"
    )


async def times(call: Call, count: int, at_once: int) -> list[float]:
    """Milliseconds of each request."""
    numbers = iter(range(count))
    found: list[float] = []

    async def lane() -> None:
        for number in numbers:
            began = time.perf_counter()
            (await call(number)).raise_for_status()
            found.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(lane() for _ in range(at_once)))
    return found


if __name__ == "__main__":
    main()
