"""Every `auto` as a number: pure arithmetic over what the user asked and what the inspection found."""

from typing import TypeVar

from core.contract.job_spec import Auto, DpoHyperparameters
from core.contract.run_spec import Settings

T = TypeVar("T", int, float)

BASE_LEARNING_RATE = 1e-6
MAX_BATCH = 64
STEPS_WANTED = 20


def resolve(asked: DpoHyperparameters, *, pairs: int, max_length: int) -> Settings:
    """`pairs` are those that can be used; `max_length` in tokens is the inspection's."""

    def given(value: T | Auto, auto: T) -> T:
        return auto if isinstance(value, str) else value

    n_epochs = given(asked.n_epochs, 1)
    rate = BASE_LEARNING_RATE * given(asked.learning_rate_multiplier, 1.0)
    return Settings(
        loss="sigmoid",
        beta=given(asked.beta, 0.1),
        label_smoothing=given(asked.label_smoothing, 0.0),
        nll_weight=given(asked.nll_weight, 0.0),
        learning_rate=given(asked.learning_rate, rate),
        lr_schedule="linear" if asked.lr_schedule == "auto" else asked.lr_schedule,
        warmup_ratio=given(asked.warmup_ratio, 0.1),
        weight_decay=given(asked.weight_decay, 0.0),
        max_grad_norm=given(asked.max_grad_norm, 1.0),
        n_epochs=n_epochs,
        batch_size=given(asked.batch_size, auto_batch(pairs, n_epochs)),
        max_steps=None if asked.max_steps == "auto" else asked.max_steps,
        max_length=max_length,
        truncation="drop" if asked.truncation == "auto" else asked.truncation,
        precision="fp32" if asked.precision == "auto" else asked.precision,
    )


def total_steps(settings: Settings, pairs: int) -> int:
    """Optimizer steps of the run: an epoch's last, smaller batch is one too; `max_steps` only shortens."""
    steps = -(-pairs // settings.batch_size) * settings.n_epochs
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def auto_batch(pairs: int, n_epochs: int) -> int:
    """Pairs a global batch, so that a run has about 20 steps: clamp(floor(pairs x epochs / 20), 1, 64)."""
    return max(1, min(MAX_BATCH, pairs * n_epochs // STEPS_WANTED))


def micro_batch(batch_size: int, ranks: int, max_length: int) -> int:
    """Pairs a rank and forward: a rank's share of the batch, at most about 8,192 padded tokens of both answers."""
    share = -(-batch_size // ranks)
    return max(1, min(share, 8, 8_192 // (2 * max_length) or 1))
