"""How messages are put to a chat template: what OpenAI's layout and the template's own call differently."""

import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.contract.preference import Message

Json = dict[str, Any]
# The variable by which templates of hybrid models are told to leave the reasoning out.
THINKING = "enable_thinking"
THOUGHT = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)
NINE = re.compile(r"[a-zA-Z0-9]{9}")
# Levels of the arguments of a call; a record as a whole has no more.
DEPTH = 32


@dataclass(frozen=True)
class Manner:
    """developer: the role that such a message gets. text_arguments: of a tool call as JSON text, else as an object.

    short_ids: those of tool calls have nine letters or digits. inline: reasoning stands in the content, in <think>.
    quiet: the template is told that no reasoning follows.
    """

    developer: str = "developer"
    text_arguments: bool = False
    short_ids: bool = False
    inline: bool = False
    quiet: bool = False

    def kwargs(self, given: Json) -> Json:
        return {**given, THINKING: False} if self.quiet else given

    def turns(self, messages: Sequence[Message]) -> list[Json]:
        """As templates expect them."""
        found = [self.turn(message) for message in messages]
        if self.short_ids:
            shorten(found)
        return found

    def turn(self, message: Message) -> Json:
        turn: Json = {"content": "", **message.model_dump(exclude_none=True)}
        if message.role == "developer":
            turn["role"] = self.developer
        if message.tool_calls:
            turn["tool_calls"] = [self.call(call) for call in message.tool_calls]
        if self.inline and (thought := turn.pop("reasoning_content", None)):
            turn["content"] = f"<think>\n{thought}\n</think>\n\n{turn['content']}"
        return turn

    def call(self, call: Json) -> Json:
        function = call.get("function") or {}
        given = arguments(function)
        if self.text_arguments and not isinstance(given, str):
            given = json.dumps(given, ensure_ascii=False)
        return {**call, "function": {**function, "arguments": given}}


def arguments(function: Json) -> Any:
    """Of a tool call, as an object: OpenAI writes them as the text of one.

    A text that is none stays as it is; so does one that would not come back whole: a key that is there twice, half a
    surrogate pair, a number that JSON does not have, more than DEPTH levels.
    """
    given = function.get("arguments")
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    if isinstance(given, str):
        try:
            read = json.loads(given, parse_float=finite, parse_constant=finite, object_pairs_hook=once)
            if r"\u" in given:
                json.dumps(read, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return given
        if given.count("{") + given.count("[") > DEPTH and deep(read, DEPTH):
            return given
        return read if isinstance(read, dict) else {} if read is None else given
    return given


def once(pairs: list[tuple[str, Any]]) -> Json:
    """An object; ValueError where a key is there twice, of which one value would be lost."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is there twice")
    return made


def deep(value: Any, levels: int) -> bool:
    """Whether objects and lists nest deeper than so many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(deep(each, levels - 1) for each in inner))


def finite(text: str) -> float:
    """A number that JSON can write again; ValueError for others."""
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def shorten(turns: list[Json]) -> None:
    """Ids of nine letters and digits, from sha256, for calls and their results alike; a missing one by its place."""
    waiting: OrderedDict[str, None] = OrderedDict()
    for number, turn in enumerate(turns):
        if calls := turn.get("tool_calls"):
            for place, call in enumerate(calls):
                call["id"] = short(call.get("id") or f"call {number} {place}")
            waiting = OrderedDict.fromkeys(call["id"] for call in calls)
        elif turn["role"] == "tool":
            named = turn.get("tool_call_id")
            own = short(named) if named else next(iter(waiting), None) or short(f"call {number}")
            waiting.pop(own, None)
            turn["tool_call_id"] = own


def short(name: str) -> str:
    return name if NINE.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:9]


def shortened(messages: Sequence[Message]) -> bool:
    """Whether short ids differ from those of the messages."""
    ids = [call.get("id") for message in messages for call in message.tool_calls or []]
    ids += [message.tool_call_id for message in messages if message.role == "tool"]
    return any(not each or not NINE.fullmatch(each) for each in ids)


def written_as_python(turns: Sequence[Json], text: str) -> bool:
    """Whether a template that wants texts has put an object into its text: as Python writes it, with single quotes."""
    calls = [call for turn in turns for call in turn.get("tool_calls", ())]
    given = [call["function"]["arguments"] for call in calls]
    return any(isinstance(each, dict) and each and str(each) in text for each in given)


def thought_of(message: Message) -> tuple[str, str]:
    """Reasoning and content of an assistant message, white space round them aside: both may stand in its content."""
    content = message.content or ""
    if message.reasoning_content:
        return message.reasoning_content.strip(), content.strip()
    found = THOUGHT.match(content)
    if found:
        return found[1].strip(), content[found.end() :].strip()
    return "", content.strip()


def thinks(message: Message) -> bool:
    return bool(message.reasoning_content) or "</think>" in (message.content or "")


def alternatives(plain: Manner, quiet: bool, calls: bool, developer: bool, inline: bool) -> Iterator[Manner]:
    """The manners worth trying, the likeliest first; `plain` is among them."""
    for silent in (True, False) if quiet else (False,):
        for role in (plain.developer, "system") if developer else (plain.developer,):
            for folded in (False, True) if inline else (False,):
                for text in (False, True) if calls else (False,):
                    yield replace(plain, quiet=silent, developer=role, inline=folded, text_arguments=text)
