"""1 GiB of preference pairs through POST /v1/files, against plain boto3 `upload_file` to the same store.

Interleaved, the median of three. Then what the file's checks take, and how far API and worker grow meanwhile.
"""

import argparse
import time
from pathlib import Path

import inputs
import live

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    size = parser.parse_args().mib * live.MIB
    with live.folder() as scratch, live.running(scratch / "home") as service:
        live.say(f"writing {size // live.MIB} MiB of pairs")
        path = inputs.pairs(scratch / "pairs.jsonl", seed=1, size=size, words=100)
        measure(service, path, path.stat().st_size)


def measure(service: live.Service, path: Path, size: int) -> None:
    peer, bucket = service.boto3(), service.environment["S3_BUCKET"]
    plain, ours, checks, grown = [], [], [], []
    tasks = live.Detached(service, "worker.task", "worker.validate")
    with service.client() as client:
        client.get("/files").raise_for_status()
        api = live.Peak(service.pid("-m api"))
        for number in range(1, ROUNDS + 1):
            plain.append(live.timed(lambda: peer.upload_file(str(path), bucket, "bench/plain")))
            peer.delete_object(Bucket=bucket, Key="bench/plain")
            api.begin()
            sent: list[str] = []
            ours.append(live.timed(lambda sent=sent: sent.append(inputs.upload(client, path))))
            began = time.perf_counter()
            grown.append(api.growth())
            inputs.checked(client, sent[0], tasks.look)
            checks.append(time.perf_counter() - began)
            client.delete(f"/files/{sent[0]}").raise_for_status()
            live.say(
                f"round {number}: boto3 {plain[-1]:.1f} s, API {ours[-1]:.1f} s (+{grown[-1] / live.MIB:.0f} MiB), "
                f"checks {checks[-1]:.1f} s"
            )
    rises = ", ".join(f"+{each / live.MIB:.0f}" for each in grown)
    rows = [
        ("boto3 upload_file", f"{live.rate(size, plain):.0f}", ""),
        (
            "POST /v1/files",
            f"{live.rate(size, ours):.0f}",
            f"API {rises}",
        ),
        (
            "the file's checks",
            f"{live.rate(size, checks):.0f}",
            f"both processes, whole: {tasks.most / live.MIB:.0f}",
        ),
    ]
    live.table((f"{size / live.GIB:.2f} GiB", "MiB/s", "peak above rest, each round, MiB"), rows)
    ratio = live.rate(size, ours) / live.rate(size, plain)
    live.verdict(f"Upload through the API runs at {ratio:.2f} x plain boto3")


if __name__ == "__main__":
    main()
