"""Tools and their calls go through the chat template, or the record falls out: a template can leave them out unseen."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core.contract.preference import Message
from trainer.render import Unfit

Tools = list[dict[str, Any]] | None
# As trainer.render.Renderer.text.
Text = Callable[[Sequence[Message], Tools], str]


def refuse_ignored(text: Text, messages: Sequence[Message], tools: Tools) -> None:
    """Raises Unfit where the conversation reads the same without one of its tools, calls or results."""
    if not tools and not any(message.tool_calls or message.role == "tool" for message in messages):
        return
    whole = text(messages, tools)
    for what, fewer, left in variants(messages, tools):
        try:
            same = text(fewer, left) == whole
        except Unfit:  # a template that insists on it does show it
            same = False
        if same:
            raise Unfit("template_render_failed", f"The chat template leaves out {what}.", "tools_ignored")


def variants(messages: Sequence[Message], tools: Tools) -> Iterator[tuple[str, Sequence[Message], Tools]]:
    """In words what is missing, and the conversation without it."""
    if tools:
        yield "the tools of the record", messages, None
    for i, message in enumerate(messages):
        for what, changed in without(message):
            yield what, [*messages[:i], changed, *messages[i + 1 :]], tools


def without(message: Message) -> Iterator[tuple[str, Message]]:
    if message.role == "tool" and message.content:
        yield "what a tool answered", message.model_copy(update={"content": ""})
    for i, call in enumerate(calls := message.tool_calls or []):
        yield "a tool call", message.model_copy(update={"tool_calls": [*calls[:i], *calls[i + 1 :]] or None})
        function = call.get("function")
        if isinstance(function, dict) and function.get("arguments"):
            empty = {**call, "function": {**function, "arguments": type(function["arguments"])()}}
            changed = [*calls[:i], empty, *calls[i + 1 :]]
            yield "the arguments of a tool call", message.model_copy(update={"tool_calls": changed})
