"""How long a job takes to go on after a death, and what a storm costs it: python benchmarks/bench_recovery.py.

Goals: after a rank's death p99 <= 15 s on top of loading, after a supervisor's <= the lease's TTL + 30 s, and >= 97 %
effective training time at one failure in three hours. The real trainer, a tiny model, two ranks, both launchers; every
time at its production default, but for the nodes' deaths, which say their time scale. A second node takes over when a
whole one dies; on the same node the next sweep does.

Effective training time: the share of the time between a job's first step and its last that went into steps which count
in the end; so what a kill costs is all from the kill to the step that the killed run would have made next.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import deaths
import live
from deaths import Job, Recovery
from small_jobs import create, ended, prepared

from core.db import nodes
from core.db.engine import transaction

FAILURE_SECONDS = 3 * 3_600
TTL_SECONDS, RESUME_SECONDS = 60.0, 300.0
RESUME_STEPS = 20
# More than any run here gets to.
ENDLESS = 6_000
TENTH = "x 0.1"
Found = dict[str, list[Recovery]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=10, help="kills of a rank, with each launcher")
    parser.add_argument("--supervisors", type=int, default=5, help="kills of the supervisor, with each launcher")
    parser.add_argument("--nodes", type=int, default=6, help="deaths of a whole node, at a tenth of the times")
    parser.add_argument("--full", type=int, default=1, help="deaths of a whole node, at the times of production")
    parser.add_argument("--launchers", nargs="+", default=["warm", "cold"])
    asked = parser.parse_args()
    draw = random.Random(5)
    found: Found = {}
    shares = []
    os.environ |= {"PALATE_SLOTS": "2", "OMP_NUM_THREADS": "1"}
    os.environ |= {"PALATE_RESUME_STEPS": str(RESUME_STEPS), "PALATE_RESUME_SPACING": "0"}
    for launcher in asked.launchers:
        os.environ["PALATE_LAUNCHER"] = launcher
        with live.folder() as scratch, live.running(scratch / "home") as service:
            file = prepared(service, scratch)
            with service.database():
                calm = straight(service, file, 200)
                live.say(f"{launcher}: undisturbed, a step takes {1000 * calm:.0f} ms")
                victims = ["rank"] * asked.ranks + ["supervisor"] * asked.supervisors
                draw.shuffle(victims)
                shares.append((launcher, calm, *disturbed(service, file, victims, draw, launcher, found)))
                if launcher == asked.launchers[0]:
                    drain_all()
                    whole_nodes(service, scratch, file, "0.1", asked.nodes, found)
                    whole_nodes(service, scratch, file, "1", asked.full, found)
    show(found, shares)


def straight(service: live.Service, file: str, steps: int) -> float:
    """Seconds a step, of a run that nobody disturbs."""
    with service.client() as client:
        job = Job(create(client, file, steps), service.home / "scratch")
        job.until(lambda: job.epoch == 1 and job.steps[1][-1][0] == steps, "the last step")
        ended(client, job.id)
    first, last = job.steps[1][0], job.steps[1][-1]
    return (last[1] - first[1]) / (last[0] - first[0])


def disturbed(
    service: live.Service, file: str, victims: list[str], draw: random.Random, launcher: str, found: Found
) -> tuple[int, float, int]:
    """(steps that counted, seconds from the first to the last, kills) of a run that loses the victims in turn."""
    with service.client() as client:
        job = Job(create(client, file, ENDLESS), service.home / "scratch")
        for victim in victims:
            # Behind its first resume point, at any moment between two.
            job.trains(RESUME_STEPS + draw.randrange(2 * RESUME_STEPS))
            kill = deaths.a_rank(job, draw.randrange(2)) if victim == "rank" else deaths.supervisor(job)
            recovery = job.recovery(kill)
            found.setdefault(f"{victim}, {launcher}", []).append(recovery)
            live.say(f"{launcher}, {victim}: first step after {recovery.first_step:.1f} s, {recovery.steps} again")
        job.trains(RESUME_STEPS)
        last = job.steps[job.epoch][-1]
        client.post(f"/fine_tuning/jobs/{job.id}/cancel").raise_for_status()
        ended(client, job.id)
    return last[0], last[1] - job.steps[1][0][1], len(victims)


def whole_nodes(service: live.Service, scratch: Path, file: str, scale: str, count: int, found: Found) -> None:
    """Two nodes beside the service's own, which is drained; the one that runs the job dies, the other goes on."""
    homes = [scratch / f"node-{name}-{scale}" for name in "ab"]
    with service.client() as client, workers(service, homes, scale) as begun:
        job = Job(create(client, file, ENDLESS), *(home / "scratch" for home in homes))
        for _ in range(count):
            job.trains(2 * RESUME_STEPS)
            home = next(home for home in homes if job.space().path.is_relative_to(home))
            recovery = job.recovery(deaths.all_below(home))
            found.setdefault(f"node, times x {scale}", []).append(recovery)
            live.say(f"node, times x {scale}: claimed after {recovery.claimed:.1f} s")
            begun[home] = worker(service, home, scale)
        client.post(f"/fine_tuning/jobs/{job.id}/cancel").raise_for_status()
        ended(client, job.id)


def drain_all() -> None:
    with transaction() as session:
        for node in nodes.known(session):
            nodes.drain(session, node.name)


@contextmanager
def workers(service: live.Service, homes: list[Path], scale: str) -> "Iterator[dict[Path, subprocess.Popen[bytes]]]":
    begun = {home: worker(service, home, scale) for home in homes}
    try:
        yield begun
    finally:
        for home, process in begun.items():
            deaths.all_below(home)()
            process.wait()


def worker(service: live.Service, home: Path, scale: str) -> "subprocess.Popen[bytes]":
    """Of a node of its own, known by the folder's name."""
    home.mkdir(exist_ok=True)
    own = {"PALATE_NODE": home.name, "PALATE_SCRATCH": str(home / "scratch"), "PALATE_CACHE": str(home / "cache")}
    command = [sys.executable, "-m", "celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "4"]
    with (home / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{home.name}@bench"],
            cwd=live.ROOT,
            env={**os.environ, **service.environment, **own, "PALATE_TIME_SCALE": scale},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def most(values: Iterable[float]) -> float:
    """The 99th percentile: of so few values, the largest."""
    return max(values)


def show(found: Found, shares: list[tuple[str, float, int, float, int]]) -> None:
    rows = []
    for name, each in found.items():
        claimed, first = [r.claimed for r in each], [r.first_step for r in each]
        told = [f"{value:.1f}" for v in (claimed, first) for value in (statistics.median(v), most(v))]
        again, lost = statistics.mean(r.steps for r in each), statistics.mean(r.where_it_was for r in each)
        rows.append((name, len(each), *told, f"{again:.0f}", f"{lost:.1f}"))
    live.table(
        ("killed", "times", "claimed p50 s", "p99", "first step p50 s", "p99", "steps again", "until where it was s"),
        rows,
    )
    for launcher, step, steps, seconds, kills in shares:
        calm = steps * step
        live.say(
            f"{launcher}: {steps} steps with {kills} kills took {seconds:.0f} s, undisturbed {calm:.0f} s: "
            f"{(seconds - calm) / kills:.1f} s lost a kill, {100 * calm / seconds:.0f} % effective at one each "
            f"{seconds / kills:.0f} s"
        )
    print()
    effective = {}
    for name, each in found.items():
        if not name.endswith(TENTH):
            away, redone = statistics.mean(r.first_step for r in each), RESUME_SECONDS / 2
            effective[name] = 100 * (1 - (away + redone) / FAILURE_SECONDS)
            live.say(
                f"{name}, one each {FAILURE_SECONDS} s: {away:.1f} s until it steps again + at most {redone:.0f} s of "
                f"steps made again = {away + redone:.1f} s lost a kill: {effective[name]:.2f} % effective"
            )
    here = {name: each for name, each in found.items() if not name.startswith("node")}
    ranks = [r.first_step for name, each in here.items() if name.startswith("rank") for r in each]
    supervisors = [r.first_step for name, each in here.items() if name.startswith("supervisor") for r in each]
    live.verdict(
        f"{len(ranks)} ranks killed: a step again after {statistics.median(ranks):.1f} s in the median, p99 "
        f"{most(ranks):.1f} s with loading (goal: 15 s without); {len(supervisors)} supervisors: at most "
        f"{most(supervisors):.1f} s (goal: {TTL_SECONDS + 30:.0f} s); one such death in 3 h leaves at least "
        f"{min(effective[name] for name in here):.2f} % effective (goal: 97 %)"
    )
    for name, each in found.items():
        if name.startswith("node"):
            ttl = TTL_SECONDS / 10 if name.endswith(TENTH) else TTL_SECONDS
            slowest = most(r.first_step for r in each)
            live.say(
                f"{name}: {len(each)} died, another went on after at most {slowest:.1f} s: TTL {slowest - ttl:+.1f} s "
                "(goal: TTL +30 s)"
            )


if __name__ == "__main__":
    main()
