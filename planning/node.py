"""What planning knows of a node: its kind of device, the memory of a rank, and how fast earlier jobs ran on it."""

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
    """`memory_bytes`: of one slot, a GPU's own memory or a share of the machine's. `rates`: the newest last."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    device: Literal["cpu", "cuda"] = "cpu"
    device_name: str = ""
    slots: int = 1
    memory_bytes: int | None = None
    rates: list[Rate] = []
