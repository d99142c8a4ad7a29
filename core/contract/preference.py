"""The canonical preference record: what every format is converted to, and what the trainer reads.

Stored as JSON lines, one record a line, in a zstd stream, named by the sha256 of the uncompressed lines.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role
    content: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Origin(BaseModel):
    """Where a record came from, so that every later message can point at the line (from 1)."""

    line: int
    format: str


class PreferenceRecord(BaseModel):
    """One pair: `chosen` is preferred over `rejected` as the continuation of `prompt`.

    `prompt` never ends with an assistant turn; `chosen` and `rejected` hold the continuation only.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    kind: Literal["pair"] = "pair"
    prompt: list[Message] = Field(min_length=1)
    chosen: list[Message] = Field(min_length=1)
    rejected: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    meta: dict[str, Any] = {}
    origin: Origin
