"""The canonical preference record: what every format is converted to, and what the trainer reads.

Stored as JSON lines, one record a line, in a zstd stream, named by the sha256 of the uncompressed lines.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role
    content: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Origin(BaseModel):
    """Where a record came from, so that every later message can point at the line (from 1)."""

    line: int
    format: str


class Annotator(BaseModel):
    """Who judged, and what they chose: the record's `chosen`, its `rejected`, or neither."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str
    choice: Literal["chosen", "rejected", "tie"]
    strength: float | None = None


class Record(BaseModel):
    """What every kind has. `prompt` never ends with an assistant turn; `weight` multiplies the record's loss.

    raw_text: prompt and answers hold one text each, which is trained on as it stands, without a chat template; left out
    of the stored line where it is false.
    chat_template_kwargs: variables of the chat template for this record, as servers take them (`enable_thinking`).
    group, source, language, split: names by which a report is cut into slices; training does not use them.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str
    prompt: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    weight: float = Field(default=1.0, ge=0)
    annotators: list[Annotator] | None = None
    group: str | None = None
    source: str | None = None
    language: str | None = None
    split: str | None = None
    meta: dict[str, Any] = {}
    origin: Origin
    raw_text: bool = False
    chat_template_kwargs: dict[str, Any] | None = None


class PreferenceRecord(Record):
    """One pair: `chosen` is preferred over `rejected` as the continuation of `prompt`, which they do not repeat.

    confidence: P(chosen is better), a soft label; margin: how much better, from scores or ranks.
    """

    kind: Literal["pair"] = "pair"
    chosen: list[Message] = Field(min_length=1)
    rejected: list[Message] = Field(min_length=1)
    confidence: float | None = Field(default=None, ge=0.5, le=1)
    margin: float | None = Field(default=None, ge=0)


class TieRecord(Record):
    """Two answers of which neither is better, in a file of pairs; what a job does with it is its policy for ties."""

    kind: Literal["tie"] = "tie"
    chosen: list[Message] = Field(min_length=1)
    rejected: list[Message] = Field(min_length=1)


class UnpairedRecord(Record):
    """One answer and whether it is wanted."""

    kind: Literal["unpaired"] = "unpaired"
    completion: list[Message] = Field(min_length=1)
    label: bool


class RankingRecord(Record):
    """Several answers to one prompt; `ranks[i]` is that of `completions[i]`, 1 the best, equal ones a tie."""

    kind: Literal["ranking"] = "ranking"
    completions: list[list[Message]] = Field(min_length=2)
    ranks: list[int]


AnyRecord = Annotated[PreferenceRecord | TieRecord | UnpairedRecord | RankingRecord, Field(discriminator="kind")]
# What a file holds; ties stand among pairs.
Kind = Literal["pair", "unpaired", "ranking"]
parse_record: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)
