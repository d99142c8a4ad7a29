"""From messages to token ids: what the model's own chat template makes of a pair, and which tokens are scored.

Scored are the tokens of the continuation's assistant messages, each with its end-of-turn token; headers, tool and user
turns are not. They are found by rendering growing prefixes of the conversation. Raw texts go round the template.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.contract.errors import BadModel
from core.contract.preference import Message, Record

# A header may begin with what an answer's first token swallows; more than this is a template that cannot be trained on.
LOST_TOKENS = 8
CHANGES = "The chat template changes an earlier turn when a later one is added."
NO_TEMPLATE = (
    "The model's tokenizer has no chat template: add the model again with --chat-template, or train it on texts as "
    "they stand (a file of prompt, chosen and rejected with `palate[raw_text]`), which needs none."
)
Spans = tuple[tuple[int, int], ...]


class Unfit(Exception):
    """This record cannot be trained on: a code of the data report and a sentence; `fault`: what ails the template."""

    def __init__(self, code: str, message: str, fault: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fault = fault


@dataclass(frozen=True)
class Answer:
    """`ids`: prompt and continuation, up to the last end-of-turn token. `spans`: scored tokens as [start, end)."""

    ids: tuple[int, ...]
    spans: Spans


@dataclass(frozen=True)
class Rendered:
    """`prefix`: tokens that the prompt and all answers have in common, where scoring begins."""

    prefix: int
    answers: tuple[Answer, ...]

    @property
    def longest(self) -> int:
        return max(len(answer.ids) for answer in self.answers)


class Renderer:
    """`tokenizer`: a fast one; without a chat template it serves raw texts only. `end_ids`: tokens that end a turn.

    Counts as it goes: `answered` answers, behind `appended` of which the template wrote no end token.
    """

    def __init__(self, tokenizer: Any, end_ids: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.end_ids = end_ids
        self.answered = self.appended = 0
        special = sorted(
            (t.content for t in tokenizer.added_tokens_decoder.values() if t.special), key=len, reverse=True
        )
        self.special = re.compile("|".join(re.escape(text) for text in special) or r"(?!)")

    def render(self, record: Record, prompt: Sequence[Message], continuations: Sequence[Sequence[Message]]) -> Rendered:
        """Raises Unfit. `prompt`: the record's, or what is left of it; `continuations`: one or more answers to it."""
        if record.raw_text:
            return self.raw(prompt[0].content or "", [turns[0].content or "" for turns in continuations])
        header = self.text(prompt, record.tools, header=True)
        head = self.tokenize(header)[0]
        answers = [self.answer(prompt, header, continuation, record) for continuation in continuations]
        prefix = common(head, *(answer.ids for answer in answers))
        if len(head) - prefix > LOST_TOKENS:
            raise Unfit(
                "template_render_failed",
                f"The chat template renders the prompt's last {len(head) - prefix} tokens otherwise before an answer.",
                "prefix_lost",
            )
        if head[:2] == [self.tokenizer.bos_token_id] * 2:
            raise Unfit("template_render_failed", "The chat template begins with two BOS tokens.", "double_bos")
        return Rendered(prefix, tuple(from_prefix(answer, prefix) for answer in answers))

    def raw(self, prompt: str, answers: Sequence[str]) -> Rendered:
        """Texts as they stand, with an EOS token behind each answer: the tokens that TRL makes of its "standard" format
        (huggingface.co/docs/trl/dataset_formats). A token across the border of prompt and answer is the answer's.

        Special tokens that are written in the texts are tokens. Raises Unfit where the text brings a second BOS.
        """
        end = self.tokenizer.eos_token_id
        head = self.raw_ids(prompt)
        whole = [self.raw_ids(prompt + answer) for answer in answers]
        if self.opening and head[: len(self.opening) + 1] == [*self.opening, self.tokenizer.bos_token_id]:
            bos = self.tokenizer.bos_token
            raise Unfit("special_token_in_text", f"The prompt begins with {bos!r}, which the tokenizer adds by itself.")
        whole = [ids if ids[-1:] == [end] else [*ids, end] for ids in whole]
        prefix = common(head, *whole)
        return Rendered(prefix, tuple(from_prefix(Answer(tuple(ids), ((prefix, len(ids)),)), prefix) for ids in whole))

    def raw_ids(self, text: str) -> list[int]:
        """Behind the BOS token, where the tokenizer begins with one by itself."""
        return [*self.opening, *self.tokenize(text)[0]]

    @cached_property
    def opening(self) -> list[int]:
        """What the tokenizer puts before any text."""
        plain: list[int] = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole: list[int] = self.tokenizer("a")["input_ids"]
        return next((whole[:at] for at in range(len(whole)) if whole[at : at + len(plain)] == plain), [])

    def answer(self, prompt: Sequence[Message], header: str, continuation: Sequence[Message], record: Record) -> Answer:
        """`header`: the prompt as rendered up to where the assistant begins to speak."""
        whole = self.text([*prompt, *continuation], record.tools)
        ids, offsets = self.tokenize(whole)
        spans: list[tuple[int, int]] = []
        for number, message in enumerate(continuation):
            if message.role != "assistant":
                continue
            before = [*prompt, *continuation[:number]]
            until = whole if number == len(continuation) - 1 else self.text([*before, message], record.tools)
            if not whole.startswith(until):
                raise Unfit("template_render_failed", CHANGES, "earlier_turn_changes")
            start = self.content_start(before, header if number == 0 else None, until, record)
            end = content_end(until, start, message)
            first = next((i for i, (_, stop) in enumerate(offsets) if stop > start), len(ids))
            last = self.turn_end(ids, offsets, end, len(until))
            if last is None:
                last = next((i for i, (begin, _) in enumerate(offsets) if begin >= end), len(ids))
                if number == len(continuation) - 1:
                    ids = [*ids[:last], self.tokenizer.eos_token_id]
                    last += 1
                    self.appended += 1
            spans.append((first, last))
        if not spans:
            raise Unfit("template_render_failed", "The continuation holds no assistant message.")
        self.answered += 1
        return Answer(tuple(ids[: spans[-1][1]]), tuple(spans))

    def content_start(self, before: Sequence[Message], header: str | None, until: str, record: Record) -> int:
        """The character where an assistant turn begins, behind its header."""
        header = header or self.text(before, record.tools, header=True)
        if until.startswith(header):
            return len(header)
        shared = common(header, until)
        if shared < len(self.text(before, record.tools).rstrip()):
            raise Unfit("template_render_failed", CHANGES, "earlier_turn_changes")
        return shared

    def turn_end(self, ids: list[int], offsets: list[tuple[int, int]], start: int, stop: int) -> int | None:
        """Index behind the first end-of-turn token between two characters."""
        for i, (token, (begin, _)) in enumerate(zip(ids, offsets, strict=True)):
            if start <= begin < stop and token in self.end_ids:
                return i + 1
        return None

    def text(self, messages: Sequence[Message], tools: list[dict[str, Any]] | None, header: bool = False) -> str:
        """Rendered; with `header`, up to where the assistant would begin to speak. BadModel without a template."""
        if not self.tokenizer.chat_template:
            raise BadModel(NO_TEMPLATE, code="no_chat_template", param="model")
        turns = [self.turn(message) for message in messages]
        try:
            rendered = self.tokenizer.apply_chat_template(
                turns, tools=tools, tokenize=False, add_generation_prompt=header
            )
        # A template is a program of the model's author: whatever it raises is about this record.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Unfit("template_render_failed", f"The chat template refuses this conversation: {reason}") from error
        assert isinstance(rendered, str)
        return rendered

    def turn(self, message: Message) -> dict[str, Any]:
        """A message as templates expect it. Raises Unfit where its text would become a special token."""
        found = self.special.search(message.content or "") or self.special.search(json.dumps(message.tool_calls or ""))
        if found:
            raise Unfit("special_token_in_text", f"A message contains {found.group()!r}, a special token of the model.")
        return {"content": "", **message.model_dump(exclude_none=True)}

    def tokenize(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and character offsets. The template writes the BOS token itself, hence no special tokens on top."""
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return encoding["input_ids"], encoding["offset_mapping"]


def content_end(text: str, start: int, message: Message) -> int:
    """The character behind the message's content; the start of the turn for one of tool calls alone."""
    content = (message.content or "").strip()
    at = text.find(content, start)
    if at < 0:
        reason = "The chat template does not show the content of an assistant message."
        raise Unfit("template_render_failed", reason, "content_missing")
    return at + len(content)


def common(*sequences: Sequence[Any]) -> int:
    """Length of the longest common prefix."""
    for i, items in enumerate(zip(*sequences, strict=False)):
        if any(item != items[0] for item in items[1:]):
            return i
    return min(map(len, sequences))


def from_prefix(answer: Answer, prefix: int) -> Answer:
    """The first span begins where prompt and answers part; never at position 0, which nothing predicts."""
    (_, end), *rest = answer.spans
    return Answer(answer.ids, ((max(prefix, 1), end), *rest))
