"""Records as a run sees them, token by token: what an inspection keeps of 20 of them, for people to look at."""

from typing import Literal

from pydantic import BaseModel


class Tokens(BaseModel):
    """A stretch of tokens. `pieces[i]` is the text of `token_ids[i]`, and all pieces together are `text`: of a
    character that takes several tokens the last one has it. `mask[i]` is 1 where the loss counts the token.

    hidden: so many more tokens stand in the middle, behind the first half of those that are shown.
    """

    text: str = ""
    token_ids: list[int] = []
    pieces: list[str] = []
    mask: list[int] = []
    hidden: int = 0


class Cut(Tokens):
    """Tokens that no run sees: the oldest turns, under `keep_end`. They stood before the prompt's token `at`."""

    at: int = 0


class Said(Tokens):
    """An answer, behind the prompt. `over`: so many of its last tokens lie beyond max_length (the record falls out).

    name: chosen, rejected or completion; of a ranking `1`, `2`, … by its place.
    """

    name: str
    over: int = 0


class Compared(BaseModel):
    """One example that the loss makes of the record: places among its answers, the preferred one first."""

    answers: list[int]
    confidence: float = 1.0
    margin: float = 0.0
    label: bool | None = None


class Preview(BaseModel):
    """One record. `notes`: what is to be told of how it is rendered. `problem`: why it falls out of training (a code of
    the report); nothing of it is learned then.
    """

    line: int
    kind: Literal["pair", "tie", "unpaired", "ranking"]
    prompt: Tokens
    cut: Cut | None = None
    answers: list[Said]
    examples: list[Compared] = []
    weight: float = 1.0
    notes: list[str] = []
    problem: str | None = None
    message: str | None = None
