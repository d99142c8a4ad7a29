"""POST of a job to its first optimizer step: a tiny model, 100 pairs, on two ranks and on one, split by phase.

Cold: the file was never seen, the POST follows its upload at once. Warm: a second job on the same data. Both with the
node's warm trainer, and cold. The peers: a TRL script on the same pairs, from its command to its first
optimizer step, and our trainer on the same spec started by hand.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import inputs
import live
from sqlalchemy import select

from core.db.engine import transaction
from core.db.tables import Event
from worker.launcher import COLD

MODEL = "bench/tiny"
WARM_ROUNDS = 3
LAUNCHERS = ("warm", "cold")
DEADLINE_SECONDS = 180.0
HYPERPARAMETERS = {"max_steps": 1, "batch_size": 8, "max_length": 128}
AS_LAUNCHED = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# A phase ends at the moment that is named first for it.
PHASES = {
    "checked": "file checked (until the inspection begins)",
    "queued": "inspection",
    "claimed": "claim",
    "prepared": "supervisor's start, prepare",
    "signed in": "launcher until ranks live",
    "tokenizing": "imports, process group",
    "started": "tokenize, model, engine",
    "training": "reference pass",
    "stepped": "first step",
    "shown": "seen through the API",
}


@dataclass
class Run:
    """Seconds since the POST was sent, at which each moment was reached."""

    began: float
    moments: dict[str, float] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)

    def reach(self, moment: str, at: float) -> None:
        self.moments.setdefault(moment, at - self.began)

    def phases(self) -> dict[str, float]:
        last, found = 0.0, {}
        for moment in PHASES:
            if moment in self.moments:
                found[moment], last = self.moments[moment] - last, self.moments[moment]
        return found


def main() -> None:
    columns: dict[str, list[Run]] = {}
    bare: list[float] = []
    peer: list[float] = []
    for launcher in sys.argv[1:] or LAUNCHERS:
        os.environ["PALATE_LAUNCHER"] = launcher
        with live.folder() as scratch, live.running(scratch / "home") as service:
            inputs.tiny_model(service, MODEL, scratch / "model")
            with service.client() as client:
                for ranks in (2, 1):
                    path = inputs.pairs(scratch / f"{ranks}.jsonl", seed=ranks, count=100)
                    file = inputs.upload(client, path)
                    cold = job(service, client, file, ranks)
                    columns.setdefault(name_of(launcher, ranks, "cold"), []).append(cold)
                    for number in range(WARM_ROUNDS):
                        run = job(service, client, file, ranks)
                        columns.setdefault(name_of(launcher, ranks, "again"), []).append(run)
                        live.say(
                            f"{launcher}, {ranks}: {cold.moments['stepped']:.1f} s, {run.moments['stepped']:.1f} s"
                        )
                        if ranks == 1 and len(peer) < WARM_ROUNDS:
                            peer.append(trl(scratch / "model", path, scratch / f"trl-{number}"))
                            bare.append(by_hand(run.spec, scratch / f"bare-{number}"))
                            live.say(f"TRL {peer[-1]:.1f} s, our trainer by hand {bare[-1]:.1f} s")
    show(columns, statistics.median(peer), statistics.median(bare))


def job(service: live.Service, client: httpx.Client, file: str, ranks: int) -> Run:
    """Until it has ended; the next one meets an idle machine."""
    body = {
        "model": MODEL,
        "training_file": file,
        "method": {"type": "dpo", "dpo": {"hyperparameters": HYPERPARAMETERS}},
        "palate": {"resources": {"gpus": ranks}},
    }
    run = Run(time.time())
    seen = client.post("/fine_tuning/jobs", json=body).raise_for_status().json()
    watching = threading.Thread(target=watch, args=(service.home / "scratch" / "attempts" / seen["id"] / "a1", run))
    watching.start()
    while seen["status"] not in ("succeeded", "failed", "cancelled"):
        if seen["palate"]["phase"] == "inspecting":
            run.reach("checked", time.time())
        if (seen["palate"]["progress"] or {}).get("step"):
            run.reach("shown", time.time())
        query = {"wait": 60, "since": seen["palate"]["version"]}
        seen = client.get(f"/fine_tuning/jobs/{seen['id']}", params=query).raise_for_status().json()
    watching.join()
    if seen["status"] != "succeeded":
        raise SystemExit(f"the job {seen['status']}: {seen['error']}")
    with service.database(), transaction() as session:
        for message, at in session.execute(select(Event.message, Event.created_at).where(Event.job_id == seen["id"])):
            if message.startswith("Files validated"):
                run.reach("queued", at.timestamp())
            if message.startswith("Fine-tuning job started"):
                run.reach("claimed", at.timestamp())
    return run


def watch(space: Path, run: Run) -> None:
    """The attempt's folder while it is there: what the trainer writes, with its own clock."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while "stepped" not in run.moments and time.monotonic() < deadline:
        time.sleep(0.02)
        look(space, run)


def look(space: Path, run: Run) -> None:
    for name, moment in (("run.json", "prepared"), ("ranks/0.json", "signed in")):
        if moment not in run.moments and (space / name).exists():
            run.reach(moment, (space / name).stat().st_mtime)
            if moment == "prepared":
                run.spec = json.loads((space / name).read_text() or "{}")
    for event in events(space):
        if event["event"] in ("step", "started"):
            run.reach("stepped" if event["event"] == "step" else "started", event["time"])
        if event["event"] == "phase" and event["phase"] in PHASES:
            run.reach(event["phase"], event["time"])


def events(space: Path) -> list[dict[str, Any]]:
    path = space / "events.jsonl"
    whole = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    return [json.loads(line) for line in whole]


def by_hand(spec: dict[str, Any], space: Path) -> float:
    """Seconds from the command to the first step, the same spec in another folder."""
    space.mkdir()
    path = space / "run.json"
    path.write_text(json.dumps(spec | {"workspace": str(space)}))
    words = [each.format(python=sys.executable, ranks=spec["world_size"], spec=path) for each in shlex.split(COLD)]
    run = Run(time.time())
    with (space / "output").open("wb") as output:
        process = subprocess.Popen(
            words, env={**os.environ, **AS_LAUNCHED}, stdout=output, stderr=output, cwd=live.ROOT
        )
    watch(space, run)
    if process.wait() or "stepped" not in run.moments:
        raise SystemExit((space / "output").read_text())
    return run.moments["stepped"]


def trl(model: Path, pairs: Path, space: Path) -> float:
    """Seconds from the command to the end of the first optimizer step."""
    space.mkdir()
    words = [sys.executable, str(live.ROOT / "benchmarks/arms/first_step.py"), str(model), str(pairs)]
    began = time.time()
    with (space / "output").open("wb") as output:
        done = subprocess.run([*words, str(space / "stepped")], stdout=output, stderr=output, cwd=space, check=False)
    if done.returncode:
        raise SystemExit((space / "output").read_text())
    return float((space / "stepped").read_text()) - began


def show(columns: dict[str, list[Run]], peer: float, bare: float) -> None:
    split = {name: middle(runs).phases() for name, runs in columns.items()}
    rows = [
        (words, *(f"{phases[moment]:.2f}" if moment in phases else "-" for phases in split.values()))
        for moment, words in PHASES.items()
    ]
    stepped = {name: statistics.median(run.moments["stepped"] for run in runs) for name, runs in columns.items()}
    rows.append(("POST to the first step's end, median", *(f"{each:.2f}" for each in stepped.values())))
    live.table(("seconds", *columns), rows)
    ratios = ", ".join(f"{peer / seconds:.1f} x ({name})" for name, seconds in stepped.items())
    live.verdict(f"sooner than a TRL script ({peer:.1f} s; our trainer by hand {bare:.1f} s): {ratios}")


def name_of(launcher: str, ranks: int, warmth: str) -> str:
    return f"{launcher}, {ranks} rank{'s' if ranks > 1 else ''}, {warmth}"


def middle(runs: list[Run]) -> Run:
    """The one with the median total."""
    return sorted(runs, key=lambda run: run.moments["stepped"])[len(runs) // 2]


if __name__ == "__main__":
    main()
