"""What a chat template leaves out of a conversation: seen by marks of letters behind each part, in one more rendering.

Templates trim, quote and merge texts, so that a text need not stand in the rendering as it was written; the mark does.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from string import ascii_lowercase
from typing import Any, NamedTuple

from core.contract.preference import Message
from trainer.manner import arguments, thought_of

Json = dict[str, Any]
Tools = list[Json] | None
ADVICE = " Put its text into the first user message, or add the model with a --chat-template that shows it."
# What `marks` gives; two may share a letter.
MARK = re.compile(r"(?=(Qzx[a-z]{5}xzQ))")
ARTICLE = {"assistant": "an", "user": "a", "system": "a", "developer": "a", "tool": "a"}


class Part(NamedTuple):
    """One mark. kind: text, name, tool, call, arguments or reasoning; `what` in words; `message`: its place."""

    mark: str
    kind: str
    what: str
    message: int


class Lost(NamedTuple):
    kind: str
    what: str
    message: int
    times: int

    def told(self) -> str:
        if self.times:
            return f"The chat template shows {self.what} {self.times} times."
        return f"The chat template leaves out {self.what}." + (ADVICE if self.kind == "instruction" else "")


def marked(
    messages: Sequence[Message], tools: list[Json] | None
) -> tuple[list[Message], list[Json] | None, list[Part]]:
    """The same with a mark behind each text, name, tool, call and argument."""
    parts: list[Part] = []
    names = marks()

    def add(kind: str, what: str, place: int) -> str:
        parts.append(Part(next(names), kind, what, place))
        return parts[-1].mark

    def call(given: Json, place: int) -> Json:
        function = dict(given.get("function") or {})
        function["name"] = str(function.get("name")) + add("call", "a tool call", place)
        if read := arguments(function):
            mark = add("arguments", "the arguments of a tool call", place)
            if isinstance(read, dict):
                read = {**read, mark: mark}
                text = isinstance(given["function"]["arguments"], str)
                function["arguments"] = json.dumps(read, ensure_ascii=False) if text else read
            elif isinstance(read, str):
                function["arguments"] = read + mark
            else:
                parts.pop()
        return {**given, "function": function}

    made: list[Message] = []
    for place, message in enumerate(messages):
        change: Json = {}
        if message.reasoning_content:
            what = "the reasoning of an assistant message"
            change["reasoning_content"] = message.reasoning_content + add("reasoning", what, place)
        if (message.content or "").strip():
            change["content"] = (message.content or "") + add(*words(message, place), place)
        if message.name:
            change["name"] = message.name + add("name", f"the name of {of(message)}", place)
        if message.tool_calls:
            change["tool_calls"] = [call(each, place) for each in message.tool_calls]
        made.append(message.model_copy(update=change))
    if not tools:
        return made, tools, parts
    return made, [with_name(tool, add("tool", "the tools of the record", -1)) for tool in tools], parts


def with_name(tool: Json, mark: str) -> Json:
    if isinstance(tool.get("function"), dict):
        return {**tool, "function": with_name(tool["function"], mark)}
    return {**tool, "name": f"{tool.get('name', '')}{mark}"}


def words(message: Message, place: int) -> tuple[str, str]:
    """Kind and words for the text of a message."""
    if message.role == "tool":
        return "text", "what a tool answered"
    if message.role in ("system", "developer"):
        return "instruction", of(message) + (" that does not stand first" if place else "")
    calls = " that calls a tool" if message.tool_calls else ""
    return "text", f"the text of {of(message)}{calls}"


def of(message: Message) -> str:
    return f"{ARTICLE[message.role]} {message.role} message"


def marks() -> Iterator[str]:
    """Letters only, so that trimming, quoting and escaping leave them whole; none is the beginning of another."""
    for number in count():
        letters = ""
        for _ in range(5):
            number, digit = divmod(number, 26)
            letters += ascii_lowercase[digit]
        yield f"Qzx{letters}xzQ"


def lost(parts: Sequence[Part], text: str) -> list[Lost]:
    """Parts that the text does not hold, and messages' texts that it holds more than once."""
    found: list[Lost] = []
    # Each mark by itself would cost a walk through the text.
    seen = Counter(MARK.findall(text))
    for part in parts:
        times = seen[part.mark]
        if times == 0 or (times > 1 and part.kind in ("text", "instruction")):
            found.append(Lost(part.kind, part.what, part.message, times))
    return found


def absent(messages: Sequence[Message], text: str) -> list[int]:
    """Places of the messages whose text does not stand in `text` letter by letter: those want a look by marks."""
    at, found = 0, []
    for n, message in enumerate(messages):
        content = (message.content or "").strip()
        # Mostly they stand in the order of the messages, so that all of them cost one walk through the text.
        place = text.find(content, at)
        if place >= 0:
            at = place
        elif content not in text[: at + len(content)]:
            found.append(n)
    return found


def shape(messages: Sequence[Message], tools: Tools) -> tuple[Any, ...]:
    """What decides which parts a template shows, texts and names themselves aside."""
    return (
        tools and len(tools),
        *(
            (
                message.role,
                bool((message.content or "").strip()),
                bool(message.name),
                bool(message.role == "assistant" and thought_of(message)[0]),
                message.tool_calls
                and tuple(bool(arguments(call.get("function") or {})) for call in message.tool_calls),
            )
            for message in messages
        ),
    )
