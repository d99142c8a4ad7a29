"""The learning rate and the number of steps, as pure functions: nothing to save, nothing to restore."""

import math

from core.contract.run_spec import Settings


def steps_per_epoch(pairs: int, batch_size: int) -> int:
    """The last, smaller batch counts."""
    return -(-pairs // batch_size)


def total_steps(pairs: int, settings: Settings) -> int:
    """Optimizer steps of the whole run; `max_steps` can only shorten it."""
    steps = settings.n_epochs * steps_per_epoch(pairs, settings.batch_size)
    return min(steps, settings.max_steps) if settings.max_steps else steps


def learning_rate(step: int, total: int, settings: Settings) -> float:
    """Of step 1..total. Rises in equal parts over the warm-up, reaches the peak, then falls towards 0 (or stays)."""
    done = step - 1
    warmup = math.ceil(settings.warmup_ratio * total)
    if done < warmup:
        return settings.learning_rate * (done + 1) / warmup
    if settings.lr_schedule == "constant" or total == warmup:
        return settings.learning_rate
    left = (total - done) / (total - warmup)
    if settings.lr_schedule == "cosine":
        left = 0.5 * (1 - math.cos(math.pi * left))
    return settings.learning_rate * left
