"""How fast a run goes, and when its silence is a hang."""

import statistics
import time

from core.contract.states import Phase
from core.contract.trainer_events import AnyEvent, Finished, PhaseChanged, ResumePointSealed, Started, Step


class Pace:
    """How long steps take, in seconds, and the run's start and end; and whether it still says something.

    start: from the launch (`launched`, by the clock of the events) until the trainer has model, data and layout, of a
    run from step 0. end: the export of the finished model and its check. saving: the longest that a resume point took,
    from the first wait until it was sealed; 0 without one.

    From its first step on, a run that trains is silent for ten steps, or `least`, at most; one that does something else
    (evaluates, saves, exports, or verifies what an earlier one has trained) for `between`.
    """

    def __init__(self, least: float, between: float) -> None:
        self.seconds: list[float] = []
        self.launched: float | None = None
        self.start: float | None = None
        self.end: float | None = None
        self.saving = 0.0
        self._saves: float | None = None
        self._exporting: float | None = None
        self._last: float | None = None
        self._least, self._between = least, between
        self._heard = 0.0
        self._trains = self._verifies = False

    def hangs(self, now: float) -> float:
        """Seconds of silence that are too many, else 0. `now` as of time.monotonic."""
        if self._last is None and not self._verifies:
            return 0.0
        usual = statistics.median(self.seconds) if self.seconds else 0.0
        limit = max(self._least, 10 * usual) if self._trains else max(self._least, self._between)
        silent = now - self._heard
        return silent if silent > limit else 0.0

    def take(self, event: AnyEvent) -> None:
        self._heard = time.monotonic()
        if isinstance(event, PhaseChanged):
            self._trains, self._verifies = event.phase == Phase.TRAINING, event.phase == Phase.VERIFYING
            if self._trains or (event.phase == Phase.EXPORTING and self._exporting is None):
                self._exporting = None if self._trains else event.time
            if event.phase == Phase.SAVING:
                self._saves = event.time
        if isinstance(event, ResumePointSealed) and self._saves is not None:
            self.saving, self._saves = max(self.saving, event.time - self._saves), None
        if isinstance(event, Started) and self.launched is not None and not event.resumed_from_step:
            self.start = event.time - self.launched
        if isinstance(event, Finished) and self._exporting is not None:
            self.end = event.time - self._exporting
        if isinstance(event, Step):
            self._trains = True
            if self._last is not None:
                self.seconds.append(event.time - self._last)
            self._last = event.time

    @property
    def trained(self) -> bool:
        return self._last is not None

    @property
    def longest(self) -> float:
        return max(self.seconds, default=0.0)
