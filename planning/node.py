"""What planning knows of a node: its device, its memory, what a pass costs on it, and how long earlier jobs took."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

# A pass through the model: without gradients, or forward and backward with all weights or with adapters trained.
Pass = Literal["forward", "full", "lora"]


class Cost(BaseModel):
    """Of one pass, in seconds. weight: of the body's matrices, a token. width: each unit of it, a layer and token.
    layer: a row. logit: each weight of the head, a scored token. choice: each of the head's columns, a scored token."""

    weight: float
    width: float = 0.0
    layer: float = 0.0
    logit: float
    choice: float = 0.0


class Calibration(BaseModel):
    """Measured by trainer.calibrate. `costs` by precision and pass; `update`: seconds of the optimizer a parameter."""

    costs: dict[str, dict[Pass, Cost]]
    update: float


class Work(BaseModel):
    """What one rank computes in a full step.

    tokens fed, scored ones, and the sum of squared lengths (as Inspection.squares, of what is fed); `body` weights in
    matrices; `trained` parameters; `rows` forwards; `single`: with the answers behind other prompts (kto);
    `adapters`: LoRA.
    """

    tokens: float
    scored: float
    squares: float
    rows: float
    body: float
    layers: int
    hidden: int
    vocab: int
    trained: float
    single: bool = False
    adapters: bool = False


class Rate(BaseModel):
    """Measured in one job, of one rank: seconds of an optimizer step (the median), of its start (from the launch to the
    first forward that counts) and of its end (export and reload check), and the work of a step."""

    model_config = ConfigDict(extra="ignore")

    parameters: int
    precision: str
    lora: bool = False
    ranks: int = 1
    work: Work
    seconds: float
    start: float | None = None
    end: float | None = None


class NodeFacts(BaseModel):
    """`memory_bytes`: of one GPU, or of the whole machine where ranks run on the CPU. `rates`: the newest last."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    device: Literal["cpu", "cuda"] = "cpu"
    device_name: str = ""
    slots: int = 1
    memory_bytes: int | None = None
    calibration: Calibration | None = None
    rates: list[Rate] = []

    @field_validator("rates", mode="before")
    @classmethod
    def of_this_shape(cls, kept: list[Any]) -> list[Any]:
        """Those of an older version, without the work, are left out."""
        return [each for each in kept if isinstance(each, Rate) or "work" in each]

    def room(self, ranks: int) -> int | None:
        """Bytes for each of so many ranks, if they are alone here."""
        return self.memory_bytes if self.device == "cuda" or self.memory_bytes is None else self.memory_bytes // ranks
