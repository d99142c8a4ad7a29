"""What the trainer says while it runs: one JSON object a line in events.jsonl, written by rank 0.

A reader waits for the end of a torn last line, and ignores keys and kinds that it does not know.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from core.contract.finding import Finding
from core.contract.manifest import RelativePath
from core.contract.states import Phase

# A trainer may have been taken over: no number that a row does not hold, no text without an end, few figures.
TEXT_LETTERS = 32_768
Count = Annotated[int, Field(ge=0, lt=1 << 31)]
Large = Annotated[int, Field(ge=0, lt=1 << 63)]
Text = Annotated[str, AfterValidator(lambda text: text[:TEXT_LETTERS])]
Name = Annotated[str, Field(max_length=256)]
Figures = Annotated[dict[Name, float], Field(max_length=256)]
Findings = Annotated[list[Finding], Field(max_length=256)]


class TrainerEvent(BaseModel):
    """`time` in unix seconds."""

    model_config = ConfigDict(extra="ignore")

    v: Literal[1] = 1
    time: float


class Started(TrainerEvent):
    """`pairs` are usable, `dropped` fell out; `resumed_from_step` 0 for a fresh run."""

    event: Literal["started"] = "started"
    world_size: Count
    total_steps: Count
    pairs: Count
    dropped: Count
    resumed_from_step: Count = 0
    layout: Name = "padded"
    details: dict[str, Any] = {}


class PhaseChanged(TrainerEvent):
    """Entering a phase, or `done` of `total` within it."""

    event: Literal["phase"] = "phase"
    phase: Phase
    done: Large = 0
    total: Large = 0


class Step(TrainerEvent):
    """After an optimizer step. `metrics` under TRL's names; `tokens` trained since step 0."""

    event: Literal["step"] = "step"
    step: Count
    total_steps: Count
    epoch: float
    metrics: Figures
    pairs_per_second: float
    eta_seconds: float
    tokens: Large


class Evaluated(TrainerEvent):
    event: Literal["eval"] = "eval"
    step: Count
    metrics: Figures


class Sample(TrainerEvent):
    """A greedy continuation of a probe prompt; `when` is before or after the training."""

    event: Literal["sample"] = "sample"
    step: Count
    when: Literal["before", "after"]
    prompt: Text
    completion: Text


class CheckpointSealed(TrainerEvent):
    """`path` relative to the workspace. The final one is the model; its manifest's `proof` says what verifies it."""

    event: Literal["checkpoint_sealed"] = "checkpoint_sealed"
    step: Count
    path: RelativePath
    metrics: Figures = {}
    final: bool = False


class Verified(TrainerEvent):
    """The sealed model of this step, loaded as anyone would load it, is the one that was trained; or it is not.

    `message` says what was found, with numbers; `figures` are those numbers: differences in nats / sqrt(scored tokens).
    `text`: what the loaded model says to one prompt, greedily; told, not judged.
    """

    event: Literal["verified"] = "verified"
    step: Count
    passed: bool
    message: Text
    figures: Figures = {}
    text: Text | None = None


class ResumePointSealed(TrainerEvent):
    event: Literal["resume_point_sealed"] = "resume_point_sealed"
    step: Count
    path: RelativePath


class ReferenceSealed(TrainerEvent):
    """Log-probabilities that no earlier run had, ready to be kept for later ones: `path` holds them and a manifest.

    `data_digest`: of the records that they belong to, and go with.
    """

    event: Literal["reference_sealed"] = "reference_sealed"
    path: RelativePath
    key: Name
    data_digest: Name
    sequences: Count


class Judged(TrainerEvent):
    """Checks of the data report that need the reference's log-probabilities, once they are there.

    `examples` are judged, those that the run's steps use, `of` so many in its training data.
    """

    event: Literal["judged"] = "judged"
    findings: Findings
    examples: Count
    of: Count


class Warned(TrainerEvent):
    event: Literal["warning"] = "warning"
    code: Name
    message: Text
    data: dict[str, Any] = {}


class Stopped(TrainerEvent):
    event: Literal["stopped"] = "stopped"
    step: Count
    reason: Name


class Failed(TrainerEvent):
    """The last word of a run that could not go on; `line` of the uploaded file where there is one. `device`: the GPU
    that failed, by the name under which the run was given it."""

    event: Literal["failed"] = "failed"
    code: Name
    message: Text
    param: Name | None = None
    line: Count | None = None
    step: Count | None = None
    device: Name | None = None


class Finished(TrainerEvent):
    event: Literal["finished"] = "finished"
    step: Count
    metrics: Figures
    trained_tokens: Large


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
