"""Alarms: a run that goes wrong says so while there is time to stop it, once each, with likely cause and remedy."""

import math
from collections import deque
from collections.abc import Callable
from statistics import fmean, median

from core.contract.losses import LOSSES
from core.contract.run_spec import Settings
from trainer.course import Progress

# The share of what the chosen answers cost the reference, in nats a token, by which they may become dearer before it
# looks like over-optimisation; and the least and the most that counts as such a share. Measured on the storyteller
# (0.15 nats a token): a run whose endings broke (54 of 64) lost 0.12 in the end, good ones 0.01 at most. The mean of so
# many steps counts: where answers are one word, a single batch says little.
SHIFT, LEAST_SHIFT, MOST_SHIFT, SHIFT_STEPS = 0.25, 0.05, 0.5, 5
# |h| a token below which nothing was learned
STILL = 1e-4
# times the median norm of the steps before
SPIKE = 10.0
EARLY = 0.25
SURE_STEPS = 5


class Alarms:
    """Looks at the figures of each step; what was told is kept in the progress, so a resumed run does not repeat it."""

    def __init__(self, settings: Settings, total: int, progress: Progress, warn: Callable[..., None]) -> None:
        self.settings, self.total, self.progress, self.warn = settings, total, progress, warn
        self.norms: deque[float] = deque(maxlen=50)
        self.shifts: deque[tuple[float, float]] = deque(maxlen=SHIFT_STEPS)
        self.sure = 0

    def look(self, figures: dict[str, float], grad_norm: float) -> None:
        step, total, settings = self.progress.step, self.total, self.settings
        compares = LOSSES[settings.loss].reference
        distance = figures["distance"]
        if "shift" in figures:
            self.shifts.append((figures["shift"], figures["nll_loss"]))
        shift, now = (fmean(values) for values in zip(*self.shifts, strict=True)) if self.shifts else (0.0, 0.0)
        before = now + shift
        allowed = min(max(SHIFT * before, LEAST_SHIFT), MOST_SHIFT)
        if compares and len(self.shifts) == SHIFT_STEPS and shift < -allowed:
            self.tell(
                "chosen_logps_fall",
                f"The preferred answers have become less likely than before training, by {-shift:.2f} nats a token "
                f"({before:.2f} before): "
                "the model moves away from both answers and may write broken text, however high the accuracy. "
                "Lower learning_rate, raise beta, or set nll_weight (1.0 is a good start); look at the samples.",
                shift=shift,
            )
        patience = math.ceil(settings.warmup_ratio * total) + max(20, math.ceil(0.25 * total))
        if compares and step >= patience and distance < STILL:
            self.tell(
                "nothing_learned",
                f"After {step} steps the model has moved by {distance:.1e} nats a token only: it learns nothing. "
                "Raise learning_rate (ten times is a fair next try).",
                distance=distance,
            )
        self.sure = self.sure + 1 if figures["rewards/accuracies"] >= 1.0 else 0
        if self.sure >= SURE_STEPS and step <= max(SURE_STEPS, EARLY * total):
            self.tell(
                "accuracy_saturated",
                f"Every example has been told apart for {self.sure} steps, after {step} of {total}: the pairs may "
                "differ in something trivial (length, a phrase), or learning_rate is too high. Look at the data "
                "report, use fewer steps or a lower learning_rate.",
            )
        if len(self.norms) >= 10 and grad_norm > SPIKE * median(self.norms):
            self.tell(
                "gradient_spike",
                f"The gradient's norm jumped to {grad_norm:.3g} at step {step}, {grad_norm / median(self.norms):.0f} "
                "times the usual one. A broken example or too high a learning_rate; max_grad_norm limits the damage.",
                grad_norm=grad_norm,
            )
        self.norms.append(grad_norm)

    def tell(self, code: str, message: str, **data: float) -> None:
        if code not in self.progress.alarms:
            self.progress.alarms.append(code)
            self.warn(code, message, step=self.progress.step, **data)
