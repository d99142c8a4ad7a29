"""The Celery worker of a node: `celery -A worker.celery_app worker -P threads`. Its tasks never wait."""

from typing import Any

from celery import signals

from core import landlock
from core import log as logs
from core.queue import WAKE, consumer, ring
from worker import calibration, claim, devices, isolation, launcher, lifeline, schema, workspace
from worker.sweeper import Sweeper

HOPS = 3
app = consumer()


@app.task(name=WAKE)
def wake(v: int = 1, hops: int = 0) -> int:
    """There may be work: looks in Postgres. What has no room here, another node may have room for."""
    claimed = claim.claim_all()
    if hops < HOPS and claim.elsewhere():
        ring(hops + 1)
    return claimed


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    logs.setup("worker")


@signals.worker_init.connect
def begin(**_: Any) -> None:
    """`worker_ready` would never fire without a broker."""
    landlock.hide()
    lifeline.watch()
    workspace.close_to_others()
    devices.require()
    isolation.require()
    schema.require()
    Sweeper().start()
    launcher.warm_up()
    calibration.begin()
