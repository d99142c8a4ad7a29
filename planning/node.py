"""What planning knows of a node: its kind of device, its memory, and how fast earlier jobs ran on it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Rate(BaseModel):
    """Measured in one job's optimizer steps, of one rank. `flops` a step (planning.time), `rows` forwards a step."""

    model_config = ConfigDict(extra="ignore")

    parameters: int
    layers: int
    precision: str
    lora: bool = False
    ranks: int = 1
    flops: float
    rows: float
    seconds: float


class NodeFacts(BaseModel):
    """`memory_bytes`: of one GPU, or of the whole machine where ranks run on the CPU. `rates`: the newest last."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    device: Literal["cpu", "cuda"] = "cpu"
    device_name: str = ""
    slots: int = 1
    memory_bytes: int | None = None
    rates: list[Rate] = []

    def room(self, ranks: int) -> int | None:
        """Bytes for each of so many ranks, if they are alone here."""
        return self.memory_bytes if self.device == "cuda" or self.memory_bytes is None else self.memory_bytes // ranks
