"""The Celery worker of a node: `celery -A worker.celery_app worker -P threads`. Its tasks never wait."""

import logging
from typing import Any

from celery import signals
from core.queue import app

from core import log as logs
from worker import claim, lifeline
from worker.sweeper import Sweeper

log = logging.getLogger(__name__)


@app.task(name="wake")
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
