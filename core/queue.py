"""The bell: a message that means 'there may be work'. It may be lost, late or doubled; only latency suffers.

Celery is imported by the first who needs it: a supervisor rings at its end, and its ranks wait for its start.
"""

import logging
import threading
from functools import cache
from typing import TYPE_CHECKING

from core import settings

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)
WAKE = "wake"
QUEUE = "palate"
PRODUCER_SECONDS = 0.2


def consumer() -> "Celery":
    """The app of a worker: nothing is prefetched, a message is gone when its task starts (Postgres has the truth)."""
    from celery import Celery

    app = Celery("palate")
    app.config_from_object(
        {
            "broker_url": settings.parts().redis_url.get_secret_value(),
            "task_serializer": "json",
            "accept_content": ["json"],
            "task_ignore_result": True,
            "task_acks_late": False,
            "task_default_queue": QUEUE,
            "worker_prefetch_multiplier": 1,
            "worker_disable_prefetch": True,
            "worker_hijack_root_logger": False,
            "broker_connection_retry_on_startup": True,
            "broker_connection_max_retries": None,
            "broker_transport_options": {"visibility_timeout": 86_400},
        }
    )
    return app


@cache
def _producer() -> "Celery":
    """An app of its own for sending, with time-outs that no request notices."""
    from celery import Celery

    app = Celery("palate-bell", set_as_current=False)
    app.config_from_object(
        {
            "broker_url": settings.parts().redis_url.get_secret_value(),
            "task_serializer": "json",
            "task_ignore_result": True,
            "task_default_queue": QUEUE,
            "broker_transport_options": {
                "socket_timeout": PRODUCER_SECONDS,
                "socket_connect_timeout": PRODUCER_SECONDS,
                "max_retries": 0,
            },
        }
    )
    return app


def ring(hops: int = 0) -> bool:
    """Sends one message; False, in a fraction of a second, when Redis does not answer. Never raises for that."""
    from kombu.exceptions import OperationalError

    try:
        _producer().send_task(WAKE, kwargs={"v": 1, "hops": hops}, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        log.warning("the bell did not ring (the sweeper will see the work): %s", error)
        return False
    return True


class Bell:
    """Rings from a thread of its own, with at most one ring pending: no request waits for Redis."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="bell", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        self._wanted.set()

    def stop(self) -> None:
        self._stopped = True
        self._wanted.set()
        self._thread.join(2)

    def _work(self) -> None:
        _producer()
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopped:
                return
            ring()
