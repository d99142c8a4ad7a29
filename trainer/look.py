"""Whether a template shows all of a conversation: by its texts, and by marks once for each shape of conversation."""

from collections.abc import Sequence
from json import dumps
from typing import Any

from core.contract.preference import Message, Record
from trainer import kept
from trainer.kept import Json, Lost
from trainer.manner import Manner, thinks
from trainer.template import Template
from trainer.unfit import FAILED, Unfit


class Look:
    def __init__(self, template: Template) -> None:
        self.template = template
        # What the template leaves out, by the shape of the conversation: seen once for each.
        self.losses: dict[Any, list[Lost] | None] = {}

    def at_prompt(
        self, record: Record, prompt: Sequence[Message], header: str, manner: Manner, kwargs: Json
    ) -> set[str]:
        """What of the prompt its rendering leaves out. Raises Unfit for what must not be lost; returns notes."""
        absent = kept.absent(prompt, header)
        shape = ("prompt", manner, dumps(kwargs), kept.shape(prompt, record.tools))
        if absent or shape not in self.losses:
            found = self.lost(prompt, record.tools, manner, kwargs, header=True)
            self.losses.setdefault(shape, found)
        else:
            found = self.losses[shape]
        if found is None:  # a template that looks at the texts themselves: what it shows stands there, or does not
            found = [Lost(*kept.words(prompt[place], place), place, 0) for place in absent]
        notes: set[str] = set()
        for each in found:
            if each.kind == "reasoning":
                notes.add("earlier_reasoning_left_out")
            elif each.kind != "name":
                raise unfit(each)
            elif prompt[each.message].role != "tool":  # the call names it
                notes.add("name_left_out")
        if any(thinks(prompt[place]) for place in absent):
            notes.add("earlier_reasoning_left_out")
        return notes

    def at_answer(
        self,
        record: Record,
        prompt: Sequence[Message],
        continuation: Sequence[Message],
        whole: str,
        manner: Manner,
        kwargs: Json,
    ) -> set[str]:
        """The same for what follows the prompt; whether the assistant's texts are there, `answer` sees by itself."""
        plain = len(continuation) == 1 and not continuation[0].tool_calls
        told = [*prompt, *continuation]
        own = range(len(prompt), len(told))
        places = [] if plain else kept.absent(told, whole)
        absent = [place for place in places if place in own and told[place].role != "assistant"]
        # One answer looks alike behind whatever prompt.
        about = (kept.shape(continuation, None), None) if plain else (kept.shape(told, record.tools), len(prompt))
        shape = (about, manner, dumps(kwargs))
        if absent or shape not in self.losses:
            found = self.lost(told, record.tools, manner, kwargs, header=False)
            found = found and [each._replace(message=each.message - len(prompt)) for each in found]
            self.losses.setdefault(shape, found)
        else:
            found = self.losses[shape]
        if found is None:
            found = [Lost(*kept.words(told[place], place), place - len(prompt), 0) for place in absent]
        notes: set[str] = set()
        for each in found:
            if each.message < 0 or each.kind in ("tool", "reasoning"):
                continue
            assistant = continuation[each.message].role == "assistant"
            if each.kind == "name":
                notes |= {"name_left_out"} if continuation[each.message].role != "tool" else set()
            elif not assistant or each.times or each.kind in ("call", "arguments"):
                raise unfit(each)
        return notes

    def lost(
        self, messages: Sequence[Message], tools: list[Json] | None, manner: Manner, kwargs: Json, header: bool
    ) -> list[Lost] | None:
        """None where the template refuses the marks."""
        made, with_marks, parts = kept.marked(messages, tools)
        try:
            text = self.template.text(manner.turns(made), with_marks, kwargs, header=header)
        except Unfit:
            return None
        return kept.lost(parts, text)


def unfit(lost: Lost) -> Unfit:
    of_tools = lost.kind in ("tool", "call", "arguments") or lost.what == "what a tool answered"
    return Unfit(FAILED, lost.told(), "tools_ignored" if of_tools else "left_out")
