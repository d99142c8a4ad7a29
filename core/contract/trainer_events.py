"""What the trainer says while it runs: one JSON object a line in events.jsonl, written by rank 0.

A reader waits for the end of a torn last line, and ignores keys and kinds that it does not know.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.contract.finding import Finding
from core.contract.states import Phase


class TrainerEvent(BaseModel):
    """`time` in unix seconds."""

    model_config = ConfigDict(extra="ignore")

    v: Literal[1] = 1
    time: float


class Started(TrainerEvent):
    """`pairs` are usable, `dropped` fell out; `resumed_from_step` 0 for a fresh run."""

    event: Literal["started"] = "started"
    world_size: int
    total_steps: int
    pairs: int
    dropped: int
    resumed_from_step: int = 0
    layout: str = "padded"
    details: dict[str, Any] = {}


class PhaseChanged(TrainerEvent):
    """Entering a phase, or `done` of `total` within it."""

    event: Literal["phase"] = "phase"
    phase: Phase
    done: int = 0
    total: int = 0


class Step(TrainerEvent):
    """After an optimizer step. `metrics` under TRL's names; `tokens` trained since step 0."""

    event: Literal["step"] = "step"
    step: int
    total_steps: int
    epoch: float
    metrics: dict[str, float]
    pairs_per_second: float
    eta_seconds: float
    tokens: int


class Evaluated(TrainerEvent):
    event: Literal["eval"] = "eval"
    step: int
    metrics: dict[str, float]


class Sample(TrainerEvent):
    """A greedy continuation of a probe prompt; `when` is before or after the training."""

    event: Literal["sample"] = "sample"
    step: int
    when: Literal["before", "after"]
    prompt: str
    completion: str


class CheckpointSealed(TrainerEvent):
    """`path` relative to the workspace. The final one is the model; its manifest's `proof` says what verifies it."""

    event: Literal["checkpoint_sealed"] = "checkpoint_sealed"
    step: int
    path: str
    metrics: dict[str, float] = {}
    final: bool = False


class Verified(TrainerEvent):
    """The sealed model of this step, loaded as anyone would load it, is the one that was trained; or it is not.

    `message` says what was found, with numbers; `figures` are those numbers: differences in nats / sqrt(scored tokens).
    `text`: what the loaded model says to one prompt, greedily; told, not judged.
    """

    event: Literal["verified"] = "verified"
    step: int
    passed: bool
    message: str
    figures: dict[str, float] = {}
    text: str | None = None


class ResumePointSealed(TrainerEvent):
    event: Literal["resume_point_sealed"] = "resume_point_sealed"
    step: int
    path: str


class ReferenceSealed(TrainerEvent):
    """Log-probabilities that no earlier run had, ready to be kept for later ones: `path` holds them and a manifest.

    `data_digest`: of the records that they belong to, and go with.
    """

    event: Literal["reference_sealed"] = "reference_sealed"
    path: str
    key: str
    data_digest: str
    sequences: int


class Judged(TrainerEvent):
    """Checks of the data report that need the reference's log-probabilities, once they are there.

    `examples` are judged, those that the run's steps use, `of` so many in its training data.
    """

    event: Literal["judged"] = "judged"
    findings: list[Finding]
    examples: int
    of: int


class Warned(TrainerEvent):
    event: Literal["warning"] = "warning"
    code: str
    message: str
    data: dict[str, Any] = {}


class Stopped(TrainerEvent):
    event: Literal["stopped"] = "stopped"
    step: int
    reason: str


class Failed(TrainerEvent):
    """The last word of a run that could not go on; `line` of the uploaded file where there is one. `device`: the GPU
    that failed, by the name under which the run was given it."""

    event: Literal["failed"] = "failed"
    code: str
    message: str
    param: str | None = None
    line: int | None = None
    step: int | None = None
    device: str | None = None


class Finished(TrainerEvent):
    event: Literal["finished"] = "finished"
    step: int
    metrics: dict[str, float]
    trained_tokens: int


AnyEvent = Annotated[
    Started
    | PhaseChanged
    | Step
    | Evaluated
    | Sample
    | CheckpointSealed
    | Verified
    | ResumePointSealed
    | ReferenceSealed
    | Judged
    | Warned
    | Stopped
    | Failed
    | Finished,
    Field(discriminator="event"),
]

parse_event: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
KINDS = frozenset(
    [
        "started",
        "phase",
        "step",
        "eval",
        "sample",
        "checkpoint_sealed",
        "verified",
        "resume_point_sealed",
        "reference_sealed",
        "judged",
        "warning",
        "stopped",
        "failed",
        "finished",
    ]
)
