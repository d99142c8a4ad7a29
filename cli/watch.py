"""`palate watch JOB`: until the job ends; a live bar on a terminal, lines elsewhere."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from cli.progress import Bar, Lines
from cli.service import Service
from core.contract.errors import Unavailable

WAIT_SECONDS = 20
AWAY_SECONDS = 60.0
AGAIN_SECONDS = 1.0
ENDED = {"succeeded", "failed", "cancelled"}
Json = dict[str, Any]
FIGURES = ("train_loss", "rewards/accuracies", "rewards/margins")


def run(arguments: argparse.Namespace) -> int:
    with Service.of(arguments.home) as service:
        return follow(service, service.get(f"/fine_tuning/jobs/{arguments.job}"))


def follow(service: Service, job: Json) -> int:
    """0 when it succeeded; 1, with the error's sentence, when it failed or was cancelled."""
    figures: Json = {}
    with Bar() if sys.stdout.isatty() else Lines() as shown:
        while True:
            figures |= patiently(newest, service, job)
            shown.show(job, figures)
            if job["status"] in ENDED:
                break
            job = patiently(change, service, job)
    if job["status"] == "succeeded":
        print(f"{job['id']} succeeded: {job['fine_tuned_model']}")
        return 0
    error = job["error"] or {}
    print(f"{job['id']} {job['status']}" + (f": {error['message']}" if error else "."), file=sys.stderr)
    return 1


def change(service: Service, job: Json) -> Json:
    return service.get(f"/fine_tuning/jobs/{job['id']}", wait=WAIT_SECONDS, since=job["palate"]["version"])


def newest(service: Service, job: Json) -> Json:
    """The last figure of each kind that the last few steps have."""
    step = (job["palate"]["progress"] or {}).get("step") or 0
    if not step:
        return {}
    columns = service.get(f"/fine_tuning/jobs/{job['id']}/metrics", name=FIGURES, since_step=max(0, step - 5))
    last = {name: [value for value in columns.get(name, []) if value is not None][-1:] for name in FIGURES}
    return {name: values[0] for name, values in last.items() if values}


def patiently(ask: Callable[[Service, Json], Json], service: Service, job: Json) -> Json:
    """Through a restart of the service: the job goes on meanwhile."""
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return ask(service, job)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_SECONDS)
