"""One writer thread a rank: what was copied to the host is written, hashed and sealed while training goes on.

Its jobs hold no collective: each rank's thread runs at its own pace, and a rank may be ahead of another.
"""

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


class Background:
    """Jobs in the order of `submit`; after the first that fails none is begun, and each look raises its error.

    A job holds so many bytes of copied tensors. While those that wait hold more than `limit`, `submit` blocks, and
    `room` for who is about to copy: in memory are the limit, one job more, and the one that runs.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: deque[tuple[Job, int]] = deque()
        self._running: Job | None = None
        self._failure: Exception | None = None
        self._abandoned = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="background", daemon=True)
        self._thread.start()

    def submit(self, job: Job, held: int = 0) -> None:
        with self._changed:
            self._wait(lambda: self._held() <= self._limit)
            if not self._abandoned:
                self._jobs.append((job, held))
                self._changed.notify_all()

    def room(self) -> None:
        with self._changed:
            self._wait(lambda: self._held() <= self._limit)

    def done(self, job: Job) -> None:
        """Returns when this one waits and runs no more."""
        with self._changed:
            self._wait(lambda: self._running is not job and all(waiting is not job for waiting, _ in self._jobs))

    def look(self) -> None:
        """Raises the error of the job that failed."""
        with self._changed:
            self._wait(lambda: True)

    def drain(self) -> None:
        """Returns when all that was submitted is done."""
        with self._changed:
            self._wait(lambda: not (self._jobs or self._running))

    def abandon(self) -> None:
        """Drops what waits, and whatever is submitted from now on; a running job may ask `abandoned`."""
        with self._changed:
            self._abandoned = True
            self._jobs.clear()
            self._changed.notify_all()

    @property
    def abandoned(self) -> bool:
        return self._abandoned

    def _held(self) -> int:
        return sum(held for _, held in self._jobs)

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: ready() or self._failure is not None)
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while self._failure is None:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs))
                job, _ = self._jobs.popleft()
                self._running = job
                self._changed.notify_all()
            failure: Exception | None = None
            try:
                job()
            # Whatever it is, it has to reach the main thread, which decides how the run ends.
            except Exception as error:
                failure = error
            # What the job held goes before its successor comes.
            del job
            with self._changed:
                self._running = None
                self._failure = failure
                self._changed.notify_all()
