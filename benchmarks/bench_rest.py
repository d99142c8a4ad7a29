"""Memory at rest: PSS of every process of `palate up`, ten seconds after it is ready, and again after some use."""

import time
from pathlib import Path

import live

QUIET_SECONDS = 10
NAMES = {
    "cli.main up": "palate up",
    "-m api": "API",
    "celery": "worker (Celery and sweeper)",
    "postgres": "PostgreSQL",
    "valkey": "Valkey",
    "weed": "SeaweedFS",
}
PARTS = ("PostgreSQL", "Valkey", "SeaweedFS")


def main() -> None:
    with live.folder() as home, live.running(home) as service:
        live.say(f"up; quiet for {QUIET_SECONDS} s")
        time.sleep(QUIET_SECONDS)
        fresh = measure(service)
        use(service)
        live.say(f"500 requests and a 64 MiB upload sent; quiet for {QUIET_SECONDS} s")
        time.sleep(QUIET_SECONDS)
        used = measure(service)
    rows = [(name, *(f"{each.get(name, 0) / live.MIB:.0f}" for each in (fresh, used))) for name in NAMES.values()]
    totals = [sum(each.values()) / live.MIB for each in (fresh, used)]
    live.table(("PSS in MiB", "fresh", "after use"), [*rows, ("all", *(f"{each:.0f}" for each in totals))])
    parts = sum(fresh.get(name, 0) for name in PARTS) / live.MIB
    live.verdict(f"At rest {totals[0]:.0f} MiB: {totals[0] / parts:.1f} x the three parts alone ({parts:.0f} MiB)")


def measure(service: live.Service) -> dict[str, int]:
    found: dict[str, int] = {}
    for pid in live.tree(service.process.pid):
        line = live.command_line(pid)
        name = next((name for word, name in NAMES.items() if word in line), line[:40])
        found[name] = found.get(name, 0) + live.status(pid, "Pss", "smaps_rollup")
    return found


def use(service: live.Service) -> None:
    with service.client() as client, live.folder() as scratch:
        for _ in range(500):
            client.get("/fine_tuning/jobs").raise_for_status()
        path = Path(scratch) / "zeros.jsonl"
        path.write_bytes(bytes(64 * live.MIB))
        with path.open("rb") as stream:
            client.post("/files", data={"purpose": "fine-tune"}, files={"file": stream}).raise_for_status()


if __name__ == "__main__":
    main()
