"""The Celery worker of a node: `celery -A worker.celery_app worker -P threads`. Its tasks never wait."""

from typing import Any

from celery import signals

from core import log as logs
from core.queue import WAKE, consumer
from worker import claim, launcher, lifeline
from worker.sweeper import Sweeper

app = consumer()


@app.task(name=WAKE)
def wake(v: int = 1, hops: int = 0) -> int:
    """There may be work: looks in Postgres."""
    return claim.claim_all()


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    logs.setup("worker")


@signals.worker_init.connect
def begin(**_: Any) -> None:
    """`worker_ready` would never fire without a broker."""
    lifeline.watch()
    Sweeper().start()
    launcher.warm_up()
