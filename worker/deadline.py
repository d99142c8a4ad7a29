"""The end of a job's time, which counts all its attempts."""

import math
import time

from core.contract.states import FailureClass, Outcome
from core.db.attempts import Ending
from worker.prepare import Plan


class Deadline:
    """max_runtime_seconds: a run that has a step to show for it finishes there; one that has none stops in vain."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._ends = time.monotonic() + (plan.seconds_left if plan else math.inf)
        self._asked = plan.spec.palate.max_runtime_seconds if plan else None
        self._resumes = plan is not None and bool(plan.points or plan.finished)
        self.vain = False

    def word(self, now: float, trained: bool) -> str:
        if now < self._ends:
            return ""
        self.vain = not (trained or self._resumes)
        return "cancel" if self.vain else "finish"

    def message(self) -> str:
        what = "no step was trained" if self.vain else "the job ends with the model of this step"
        return f"max_runtime_seconds ({self._asked}) is over: {what}."

    def refusal(self) -> Ending:
        error = {
            "code": "max_runtime_exceeded",
            "message": f"{self.message()} Give it more, or more slots.",
            "param": "palate.max_runtime_seconds",
        }
        return Ending(Outcome.FAILED, failure=FailureClass.USER, error=error)
