"""When a resume point is due: one is in flight at a time, where somebody stores them.

The worker names the newest that it has stored, or given up, in the workspace's file `stored`; only rank 0 looks.
"""

import time
from pathlib import Path

from core.contract.run_spec import RunSpec


class Points:
    """`step`: of the newest that was begun. Without `resume_spacing` nobody stores them, and none is waited for."""

    def __init__(self, spec: RunSpec, step: int) -> None:
        self.step = step
        self._spec = spec
        self._copied = time.monotonic()
        # Of the one in flight; and of the last one, the seconds from there until it was stored.
        self._begun: float | None = None
        self._took = 0.0

    def copied(self, step: int, begun: float) -> None:
        """It is in flight from here on. `begun`: as of time.time()."""
        self.step, self._begun, self._copied = step, begun, time.monotonic()

    def due(self, step: int) -> bool:
        spec, waited = self._spec, time.monotonic() - self._copied
        if step - self.step < spec.resume_steps and waited < spec.resume_seconds:
            return False
        return spec.resume_spacing is None or (not self._in_flight() and waited >= spec.resume_spacing * self._took)

    def _in_flight(self) -> bool:
        if self._begun is not None and (told := stored(self._spec.workspace)) is not None and told[0] >= self.step:
            self._took, self._begun = max(0.0, told[1] - self._begun), None
        return self._begun is not None


def stored(workspace: Path) -> tuple[int, float] | None:
    """(step, when it was written); None where the worker has named none yet."""
    path = workspace / "stored"
    try:
        return int(path.read_text()), path.stat().st_mtime
    except FileNotFoundError:
        return None
