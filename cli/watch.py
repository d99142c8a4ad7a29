"""`palate watch JOB`: until the job ends; a live bar on a terminal, lines elsewhere, and every warning once."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cli.progress import Bar, Lines
from cli.service import Service
from core.contract.errors import Unavailable
from preferences.tally import printable

WAIT_SECONDS = 20
AWAY_SECONDS = 60.0
AGAIN_SECONDS = 1.0
WARNING_SECONDS = 2.0
ENDED = {"succeeded", "failed", "cancelled"}
Json = dict[str, Any]
Answer = TypeVar("Answer")
FIGURES = ("train_loss", "rewards/accuracies", "rewards/margins")


def run(arguments: argparse.Namespace) -> int:
    with Service.of(arguments.home) as service:
        return follow(service, service.get(f"/fine_tuning/jobs/{arguments.job}"))


def follow(service: Service, job: Json) -> int:
    """0 when it succeeded; 1, with the error's sentence, when it failed or was cancelled."""
    figures: Json = {}
    warnings = Warnings()
    with Bar() if sys.stdout.isatty() else Lines() as shown:
        while True:
            for text in patiently(warnings.fresh, service, job):
                shown.say(f"warning: {text}")
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


class Warnings:
    """The job's warnings that were not said yet; asked for every few seconds, and once more when it has ended."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._at = -WARNING_SECONDS

    def fresh(self, service: Service, job: Json) -> list[str]:
        """In the order in which they happened."""
        if time.monotonic() - self._at < WARNING_SECONDS and job["status"] not in ENDED:
            return []
        self._at = time.monotonic()
        found = service.get(f"/fine_tuning/jobs/{job['id']}/events", level="warn", limit=100)["data"]
        new = [each for each in reversed(found) if each["id"] not in self._said]
        self._said |= {each["id"] for each in new}
        return [printable(each["message"]) for each in new]


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


def patiently(ask: Callable[[Service, Json], Answer], service: Service, job: Json) -> Answer:
    """Through a restart of the service: the job goes on meanwhile."""
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return ask(service, job)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_SECONDS)
