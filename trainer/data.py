"""From preference records to tokenised pairs: rendering, lengths, and what falls out for which reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.contract.errors import BadModel
from core.contract.preference import Message, PreferenceRecord
from core.contract.run_spec import RowProblem
from trainer.render import Answer, RenderedPair, Renderer, Unfit

Truncation = Literal["drop", "keep_end", "error"]


@dataclass(frozen=True)
class Pair:
    """Ids of prompt + answer each; `prefix` tokens of prompt in common; `line` of the uploaded file."""

    id: str
    line: int
    prefix: int
    chosen: Answer
    rejected: Answer

    @property
    def longest(self) -> int:
        return max(len(self.chosen.ids), len(self.rejected.ids))

    @property
    def tokens(self) -> int:
        return len(self.chosen.ids) + len(self.rejected.ids)


class Tokenised:
    """Pairs in the order of the file, and the records that fell out."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.problems: list[RowProblem] = []

    def add(self, renderer: Renderer, record: PreferenceRecord, max_length: int, truncation: Truncation) -> None:
        try:
            rendered = fit(renderer, record, max_length, truncation)
        except Unfit as unfit:
            self.problems.append(RowProblem(line=record.origin.line, code=unfit.code, message=unfit.message))
            return
        self.pairs.append(Pair(record.id, record.origin.line, rendered.prefix, rendered.chosen, rendered.rejected))


def tokenise(
    renderer: Renderer, records: Iterable[PreferenceRecord], max_length: int, truncation: Truncation
) -> Tokenised:
    result = Tokenised()
    for record in records:
        result.add(renderer, record, max_length, truncation)
    return result


def fit(renderer: Renderer, record: PreferenceRecord, max_length: int, truncation: Truncation) -> RenderedPair:
    """A pair of at most `max_length` tokens. Raises Unfit; answers are never cut."""
    prompt: Sequence[Message] = record.prompt
    pair = renderer.pair(record, prompt)
    whole = pair.longest
    while pair.longest > max_length:
        if truncation != "keep_end":
            raise Unfit("too_long", f"Prompt and answer have {whole} tokens; max_length is {max_length}.")
        shorter = without_oldest_turn(prompt)
        if shorter is None:
            raise Unfit(
                "prompt_fills_context",
                f"The last turn and the answer have {pair.longest} tokens; max_length is {max_length}.",
            )
        prompt = shorter
        pair = renderer.pair(record, prompt)
    if pair.chosen.ids == pair.rejected.ids:
        raise Unfit("identical_after_truncation", "The tokens of both answers are the same.")
    return pair


def without_oldest_turn(prompt: Sequence[Message]) -> Sequence[Message] | None:
    """Without the oldest user message and what followed it; system messages stay. None where one turn is left."""
    kept = [message for message in prompt if message.role in ("system", "developer")]
    talk = [message for message in prompt if message.role not in ("system", "developer")]
    later = next((i for i, message in enumerate(talk) if i > 0 and message.role == "user"), None)
    return None if later is None else [*kept, *talk[later:]]


def make_renderer(tokenizer: Any, end_ids: Iterable[int]) -> Renderer:
    """Raises BadModel where the tokenizer cannot do what a run needs."""
    if not tokenizer.is_fast:
        raise BadModel("The model's tokenizer has no tokenizer.json.", code="slow_tokenizer", param="model")
    if not tokenizer.chat_template:
        raise BadModel("The model's tokenizer has no chat template.", code="no_chat_template", param="model")
    ends = {*end_ids, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])}
    if tokenizer.eos_token_id is None:
        raise BadModel("The model's tokenizer names no EOS token.", code="no_eos_token", param="model")
    return Renderer(tokenizer, frozenset(ends))
