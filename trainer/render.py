"""From messages to token ids: what the model's own chat template makes of a pair, and which tokens are scored.

What is trained is what the model is served with. A server renders the prompt up to where the assistant speaks (the
header), feeds its tokens, and the model goes on until it writes the end of its turn. So an answer's ids are those of
the header and those of what the template writes behind it, up to and with the first end token that it writes itself.
Scored are the continuation's assistant turns, each with its end token; headers, tool and user turns are not. What the
template leaves out is seen by `trainer.look` and refused, or noted. Raw texts go round the template.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import chain
from json import dumps
from typing import Any

from core.contract.preference import Message, Origin, Record
from trainer.border import CHANGES, behind, content_end, preformatted
from trainer.look import Look
from trainer.manner import THINKING, Manner, alternatives, shortened, thinks, thought_of, written_as_python
from trainer.special import refuse_special
from trainer.template import Template
from trainer.unfit import FAILED, Unfit, refuse_many

NINE_LETTERS = r"length\s*(!=|==)\s*9\b"  # as the template of a Mistral model checks them
Spans = tuple[tuple[int, int], ...]
Json = dict[str, Any]
Say = Callable[..., str]
Offsets = list[tuple[int, int]]


@dataclass(frozen=True)
class Answer:
    """`ids`: prompt and continuation, up to the last end-of-turn token. `spans`: scored tokens as [start, end)."""

    ids: tuple[int, ...]
    spans: Spans


@dataclass(frozen=True)
class Rendered:
    """`prefix`: tokens of the header, where scoring begins. `notes`: what is to be told (names in trainer.health).
    kwargs: the template's variables, as JSON."""

    prefix: int
    answers: tuple[Answer, ...]
    notes: frozenset[str] = frozenset()
    kwargs: str = "{}"

    @property
    def longest(self) -> int:
        return max(len(answer.ids) for answer in self.answers)


class Renderer:
    """`tokenizer`: a fast one; without a chat template it serves raw texts only. `end_ids`: tokens that end a turn.

    stops: those of them at which the exported model stops by its generation_config. clock: what a template is told that
    asks for the time; None: now.
    """

    def __init__(
        self,
        tokenizer: Any,
        end_ids: frozenset[int],
        stops: frozenset[int] | None = None,
        clock: datetime | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.end_ids = end_ids
        self.stops = end_ids if stops is None else stops
        self.template = Template(tokenizer, clock)
        added = tokenizer.added_tokens_decoder
        self.added = frozenset(n for n, token in added.items() if token.content.strip())
        special = {n: token.content for n, token in added.items() if token.special}
        self.parting = frozenset(special)
        self.closing = (frozenset(special) | end_ids) - ({tokenizer.bos_token_id} - end_ids)
        texts = sorted(special.values(), key=len, reverse=True)
        self.special = re.compile("|".join(map(re.escape, texts)) or r"(?!)")
        self.look = Look(self.template)

    def render(self, record: Record, prompt: Sequence[Message], continuations: Sequence[Sequence[Message]]) -> Rendered:
        """Raises Unfit. `prompt`: the record's, or what is left of it; `continuations`: one or more answers to it."""
        if record.raw_text:
            return self.raw(prompt[0].content or "", [turns[0].content or "" for turns in continuations])
        refuse_many(max(map(len, continuations), default=0))
        told = [*prompt, *chain(*continuations)]
        refuse_special(self.special, record, prompt, told)
        refusals: dict[Manner, Unfit] = {}
        for manner in self.manners(record, prompt, continuations):
            try:
                found = self.attempt(record, prompt, continuations, manner)
            except Unfit as unfit:
                refusals[manner] = unfit
                continue
            notes = changes(manner, told) | ({"clock"} if self.template.clock_read else set())
            return replace(found, notes=found.notes | notes)
        # One that only tries the other way of writing arguments says less than what came behind it.
        raise next((each for each in (refusals[self.plain], *refusals.values()) if each.fault), refusals[self.plain])

    @cached_property
    def plain(self) -> Manner:
        """The messages as they are, but for what the template cannot know."""
        role = "developer" if self.template.mentions(r"\bdeveloper\b") else "system"
        return Manner(developer=role, short_ids=self.template.mentions(NINE_LETTERS))

    def manners(
        self, record: Record, prompt: Sequence[Message], continuations: Sequence[Sequence[Message]]
    ) -> list[Manner]:
        """In this order, the same for every record: what becomes of one does not depend on others."""
        told = [*prompt, *chain(*continuations)]
        mentions = self.template.mentions
        return list(
            alternatives(
                self.plain,
                quiet=THINKING not in (record.chat_template_kwargs or {})
                and mentions(rf"\b{THINKING}\b")
                and not any(map(thinks, chain(*continuations))),
                calls=any(message.tool_calls for message in told),
                developer=self.plain.developer == "developer" and any(each.role == "developer" for each in told),
                inline=any(message.reasoning_content for message in told) and mentions("</think>"),
            )
        )

    def attempt(
        self, record: Record, prompt: Sequence[Message], continuations: Sequence[Sequence[Message]], manner: Manner
    ) -> Rendered:
        kwargs = manner.kwargs(record.chat_template_kwargs or {})
        say = partial(self.template.text, tools=record.tools, kwargs=kwargs)
        spoken = [manner.turns([*prompt, *continuation]) for continuation in continuations]
        header = say(spoken[0][: len(prompt)], header=True)
        refuse_python(spoken[0][: len(prompt)], header)
        notes = self.look.at_prompt(record, prompt, header, manner, kwargs)
        if preformatted(prompt, header):
            notes.add("preformatted")
        head = self.tokenize(header)
        bos = self.tokenizer.bos_token_id
        if bos is not None and head[0][:2] == [bos] * 2:
            raise Unfit(FAILED, "The chat template begins with two BOS tokens.", "double_bos")
        answers = []
        for turns, continuation in zip(spoken, continuations, strict=True):
            whole = say(turns)
            refuse_python(turns, whole)
            notes |= self.look.at_answer(record, prompt, continuation, whole, manner, kwargs)
            answers.append(self.answer(header, head, whole, record, prompt, continuation, turns, say, notes))
        return Rendered(len(head[0]), tuple(answers), frozenset(notes), dumps(kwargs, sort_keys=True))

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
        spans = [((max(prefix, 1), len(ids)),) for ids in whole]
        return Rendered(prefix, tuple(Answer(tuple(ids), span) for ids, span in zip(whole, spans, strict=True)))

    def raw_ids(self, text: str) -> list[int]:
        """Behind the BOS token, where the tokenizer begins with one by itself."""
        return [*self.opening, *self.tokenize(text)[0]]

    @cached_property
    def opening(self) -> list[int]:
        """What the tokenizer puts before any text."""
        plain: list[int] = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole: list[int] = self.tokenizer("a")["input_ids"]
        return next((whole[:at] for at in range(len(whole)) if whole[at : at + len(plain)] == plain), [])

    def opened(self, prompt: str, like: Record, answers: Sequence[Sequence[Message]]) -> list[int]:
        """The tokens of a prompt up to where the assistant begins to speak, rendered as `like` is. Raises Unfit."""
        if like.raw_text:
            return self.raw_ids(prompt)
        asked = [Message(role="user", content=prompt)]
        refuse_special(self.special, like, asked, asked)
        manner = self.manners(like, asked, answers)[0]
        kwargs = manner.kwargs(like.chat_template_kwargs or {})
        return self.tokenize(self.template.text(manner.turns(asked), None, kwargs, header=True))[0]

    def answer(
        self,
        header: str,
        head: tuple[list[int], Offsets],
        whole: str,
        record: Record,
        prompt: Sequence[Message],
        continuation: Sequence[Message],
        turns: Sequence[Json],
        say: Say,
        notes: set[str],
    ) -> Answer:
        """`head`: the header's ids and offsets; `turns`: prompt and continuation as the template is told them."""
        if not continuation:
            raise Unfit(FAILED, "The continuation holds no assistant message.")
        asked = (record.chat_template_kwargs or {}).get(THINKING) is False
        whole = behind(header, whole, prompt, continuation, asked, notes)
        ids, offsets = self.joined(header, head, whole, notes)
        begins = [begin for begin, _ in offsets]
        spans: list[tuple[int, int]] = []
        for number, message in enumerate(continuation):
            if message.role != "assistant":
                continue
            at = len(prompt) + number
            last = number == len(continuation) - 1
            until = whole if last else say(turns[: at + 1])
            before = header if number == 0 else say(turns[:at], header=True)
            if not whole.startswith(before) or not until.startswith(before):
                raise Unfit(FAILED, CHANGES, "earlier_turn_changes")
            end = content_end(until, len(before), message, notes, partial(instead, turns[: at + 1], say))
            first = len(head[0]) if number == 0 else bisect_left(offsets, len(before) + 1, key=lambda each: each[1])
            calls = first if message.tool_calls else None
            if whole.startswith(until):
                after = self.turn_end(ids, bisect_left(begins, end), bisect_left(begins, len(until)), calls)
            elif whole.startswith(until[:end]):
                after = self.turn_end(ids, bisect_left(begins, end), len(ids), calls)
                own = self.answer_end(until, end, len(before) if message.tool_calls else None)
                if after is None or own != ids[after - 1]:  # it ends so only where the conversation does
                    notes.add("last_turn_only")
                    continue
            else:
                raise Unfit(FAILED, CHANGES, "earlier_turn_changes")
            if after is None:
                after = bisect_left(begins, end)
                if last:
                    ids = [*ids[:after], self.tokenizer.eos_token_id]
                    after += 1
                    notes.add("end_token_appended")
            spans.append((first, after))
        if asked:
            notes.discard("empty_reasoning")
        if not spans:
            raise Unfit(FAILED, "The continuation holds no assistant message.")
        # Nothing predicts the token at position 0.
        (first, after), *others = spans
        return Answer(tuple(ids[: spans[-1][1]]), ((max(first, 1), after), *others))

    def joined(
        self, header: str, head: tuple[list[int], Offsets], whole: str, notes: set[str]
    ) -> tuple[list[int], Offsets]:
        """Ids and offsets of the header, as a server feeds them, and of what follows it."""
        ids, offsets = head
        # No token reaches over a special one: from the header's last one on it is as in the whole.
        for at in dict.fromkeys((next((n for n in reversed(range(len(ids))) if ids[n] in self.parting), 0), 0)):
            start = offsets[at][0] if at else 0
            more, places = self.tokenize(whole[start:])
            if more[: len(ids) - at] == ids[at:]:
                return [*ids[:at], *more], [*offsets[:at], *((begin + start, end + start) for begin, end in places)]
        notes.add("boundary_retokenised")
        rest, border = whole[len(header) :], len(header)
        lead = self.tokenize("\n")[0]
        # Behind a line end, since some tokenizers put a blank before the beginning of a text.
        more, places = self.tokenize("\n" + rest)
        if more[: len(lead)] == lead:
            more, places, border = more[len(lead) :], places[len(lead) :], border - 1
        else:
            more, places = self.tokenize(rest)
        return [*ids, *more], [*offsets, *((begin + border, end + border) for begin, end in places)]

    def turn_end(self, ids: list[int], after: int, stop: int, calls: int | None) -> int | None:
        """Index behind the token that ends a turn whose content ends at token `after`: the first special one behind it.

        `calls`: where the turn of tool calls begins. They have special tokens of their own, so there it is the first
        token that ends a turn elsewhere, or the last special one.
        """
        if calls is None:
            places, back = range(after, stop), self.added
            found = next((n for n in places if ids[n] in self.closing), None)
        else:
            places, back = range(max(after, calls), stop), self.closing
            ends = self.end_ids | self.usual_end
            found = next((n for n in places if ids[n] in ends), None)
        if found is None:
            found = next((n for n in reversed(places) if ids[n] in back), None)
        return None if found is None else found + 1

    def answer_end(self, text: str, end: int, calls: int | None) -> int | None:
        """The token that ends the last turn of `text`, whose content ends at the character `end`; `calls` likewise."""
        ids, offsets = self.tokenize(text)
        begins = [begin for begin, _ in offsets]
        found = self.turn_end(
            ids, bisect_left(begins, end), len(ids), None if calls is None else bisect_left(begins, calls)
        )
        return None if found is None else ids[found - 1]

    @cached_property
    def usual_end(self) -> frozenset[int]:
        """The token that the template writes behind a plain answer, where it has one."""
        if not self.template.sources:
            return frozenset()
        asked, said = Message(role="user", content="Qa"), Message(role="assistant", content="Qb")
        plain = Record(id="", prompt=[asked], origin=Origin(line=0, format=""))
        try:
            found = self.render(plain, [asked], [[said]])
        except Unfit:
            return frozenset()
        return frozenset() if "end_token_appended" in found.notes else frozenset(found.answers[0].ids[-1:])

    def tokenize(self, text: str) -> tuple[list[int], Offsets]:
        """Ids and character offsets. The template writes the BOS token itself, hence no special tokens on top.

        Raises Unfit for what is no valid Unicode: a template may write what no record can hold.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = ascii(text[error.start])
            message = f"What the model would read is no valid Unicode: it holds {half}, half of a surrogate pair."
            raise Unfit(FAILED, message) from error
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return encoding["input_ids"], encoding["offset_mapping"]


def changes(manner: Manner, told: Sequence[Message]) -> set[str]:
    """Notes of what the template was told otherwise than the record says it."""
    found = {"without_reasoning"} if manner.quiet else set()
    if manner.developer != "developer" and any(message.role == "developer" for message in told):
        found.add("developer_as_system")
    if manner.short_ids and shortened(told):
        found.add("short_tool_call_ids")
    return found


def instead(said: Sequence[Json], say: Say, content: str) -> str:
    """The conversation with another content of its last turn; reasoning that stands in front of it is kept."""
    last = said[-1]
    text = last["content"].rstrip()
    own = text[: len(text) - len(thought_of(Message(role="assistant", content=text))[1])]
    return say([*said[:-1], {**last, "content": own + content}])


def refuse_python(turns: Sequence[Json], text: str) -> None:
    if written_as_python(turns, text):
        raise Unfit(FAILED, "The chat template writes the arguments of a tool call as Python would, not as JSON.")


def common(*sequences: Sequence[Any]) -> int:
    """Length of the longest common prefix."""
    for i, items in enumerate(zip(*sequences, strict=False)):
        if any(item != items[0] for item in items[1:]):
            return i
    return min(map(len, sequences))
