"""Every `auto` as a number: pure arithmetic over what the user asked and what the inspection found."""

from typing import Literal, TypeVar

from core.contract.bands import rate_of
from core.contract.job_spec import Auto, DpoHyperparameters, JobSpec, LoraOptions
from core.contract.losses import LOSSES, LossName
from core.contract.run_spec import Lora, Settings

T = TypeVar("T", int, float)
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]

# A GPU computes nine times as fast in bf16, and learns as much (docs/bf16.md); few CPUs compute in it at all.
PRECISIONS: dict[Device, Precision] = {"cpu": "fp32", "cuda": "bf16"}

MAX_BATCH = 64
STEPS_WANTED = 20
# Tokens that one forward of a rank is fed on a CPU: more is no faster there. A model whose tokens keep much for the
# backward is fed fewer (planning.memory), down to the least: its rows are long at work, and so hardly slower.
CPU_ROW_TOKENS, LEAST_CPU_ROW_TOKENS = 4_096, 1_024
# How often the row budget may be halved after a GPU ran out of memory.
MAX_HALVINGS = 3
# Examples held out where no validation file is given: so many make a figure (50: +- 7 points, 500: +- 2), and a
# shorter file than FEW has none to spare.
HELD_OUT_SHARE, LEAST_HELD_OUT, MOST_HELD_OUT, FEW = 0.05, 50, 500, 500


def resolve(
    asked: DpoHyperparameters, *, pairs: int, max_length: int, loss: LossName = "sigmoid", device: Device = "cpu"
) -> Settings:
    """`pairs` are the examples that can be used; `max_length` in tokens is the inspection's; `loss` as chosen
    (core.contract.choice), which decides what its own settings are where nothing was asked; `device`: where it runs."""
    n_epochs = given(asked.n_epochs, 1)
    own = {name: given(getattr(asked, name), auto) for name, auto in LOSSES[loss].auto.items()}
    return Settings(
        loss=loss,
        lora=None if asked.lora is None else resolve_lora(asked.lora),
        learning_rate=rate_of(asked),
        lr_schedule="linear" if asked.lr_schedule == "auto" else asked.lr_schedule,
        warmup_ratio=given(asked.warmup_ratio, 0.1),
        weight_decay=given(asked.weight_decay, 0.0),
        max_grad_norm=given(asked.max_grad_norm, 1.0),
        n_epochs=n_epochs,
        batch_size=given(asked.batch_size, auto_batch(pairs, n_epochs)),
        max_steps=None if asked.max_steps == "auto" else asked.max_steps,
        max_length=max_length,
        truncation="drop" if asked.truncation == "auto" else asked.truncation,
        precision=PRECISIONS[device] if asked.precision == "auto" else asked.precision,
        ties="drop" if asked.ties == "auto" else asked.ties,
        annotators="ignore" if asked.annotators == "auto" else asked.annotators,
        **own,
    )


def resolve_lora(asked: LoraOptions) -> Lora:
    r = given(asked.r, 16)
    modules = None if asked.target_modules == "auto" else list(asked.target_modules)
    return Lora(r=r, alpha=given(asked.alpha, 2.0 * r), dropout=given(asked.dropout, 0.0), target_modules=modules)


def exports(spec: JobSpec) -> list[Literal["model", "adapter"]]:
    """What becomes of a LoRA run where nothing was asked: the adapter, which holds all that it learned whatever the
    precision of the weights it is merged into, and the whole model, which loads anywhere."""
    asked = spec.palate.export
    if asked != "auto":
        return asked
    return ["model"] if spec.dpo().lora is None else ["adapter", "model"]


def given(value: T | Auto, auto: T) -> T:
    return auto if isinstance(value, str) else value


def held_out_share(spec: JobSpec, examples: int) -> float:
    """Of the training file's examples; 0 where a validation file is given."""
    asked = spec.palate.eval.split
    if spec.validation_file is not None:
        return 0.0
    if asked != "auto":
        return asked
    if examples < FEW:
        return 0.0
    return min(MOST_HELD_OUT, max(LEAST_HELD_OUT, round(HELD_OUT_SHARE * examples))) / examples


def trained_on(examples: int, share: float) -> int:
    """What is left to train on: exact where each prompt occurs once, since whole prompts are held out."""
    return examples - round(share * examples)


def total_steps(settings: Settings, pairs: int) -> int:
    """Optimizer steps of the run: an epoch's last, smaller batch is one too; `max_steps` only shortens."""
    steps = -(-pairs // settings.batch_size) * settings.n_epochs
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def auto_batch(pairs: int, n_epochs: int) -> int:
    """Pairs a global batch, so that a run has about 20 steps: clamp(floor(pairs x epochs / 20), 1, 64)."""
    return max(1, min(MAX_BATCH, pairs * n_epochs // STEPS_WANTED))


def halved(row_tokens: int, halvings: int) -> int:
    """The row budget after `halvings` times out of GPU memory."""
    return max(1, row_tokens >> halvings)
