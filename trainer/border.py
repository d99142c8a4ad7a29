"""In what a template writes: where the prompt as it is served ends and the answer begins, and where its text ends."""

import re
from collections.abc import Callable, Sequence

from core.contract.preference import Message
from trainer.manner import thought_of
from trainer.unfit import FAILED, Unfit

CHANGES = (
    "The chat template changes an earlier turn when a later one is added, so both cannot be trained in one record: "
    "give each answer a record of its own."
)
DIFFERS = (
    "Before an answer the chat template does not write what it ends the prompt with, so the model would be trained on "
    "another prompt than it is served with."
)
OPENED = (
    "The chat template ends the prompt with <think>, and this answer has no reasoning: give it `reasoning_content`, or "
    'ask for an empty one with `chat_template_kwargs` {"enable_thinking": false}.'
)
NO_REASONING = (
    "The chat template leaves out the reasoning of an assistant message: put it into the message's content as it is to "
    "stand there, or leave it out."
)
# Stands for a content where the template's own words hold it too; no text of a person has it.
STAND_IN = "\U0010fff0"
OPEN_BLOCK = re.compile(r"<think>\s*$")


def preformatted(prompt: Sequence[Message], header: str) -> bool:
    """Whether the one message ends in the line that the template ends the prompt with, as if it had been applied."""
    text = (prompt[-1].content or "").strip()
    lines = header.rpartition(text)[2].split("\n") if text else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return len(prompt) == 1 and bool(last) and text.endswith(last)


def behind(
    header: str,
    whole: str,
    prompt: Sequence[Message],
    continuation: Sequence[Message],
    asked: bool,
    notes: set[str],
) -> str:
    """The header and what the template writes behind it. Raises Unfit where it writes another one.

    `asked`: an empty block of reasoning is trained where the header has opened one.
    """
    message, alone = continuation[-1], len(continuation) == 1
    thought = thought_of(message)[0]
    opened = OPEN_BLOCK.search(header)
    if opened and alone and not thought and not asked:
        raise Unfit(FAILED, OPENED, "generation_prompt_differs")
    if whole.startswith(header):
        return whole
    if opened and alone and whole.startswith(header[: opened.start()]):
        rest = whole[opened.start() :]
        if "<think>" not in rest and "</think>" not in rest:
            return f"{header}{thought}\n</think>\n\n{rest.lstrip()}"
    if alone and whole.startswith(header.rstrip()):
        notes.add("prompt_as_served")
        return header + without_blanks(whole[len(header.rstrip()) :], message.content or "")
    # Some put instructions to the last message when that is the user's: served is the header, with them.
    asks = (prompt[-1].content or "").strip()
    tail = header[header.rfind(asks) :] if asks and asks in header else ""
    if alone and tail and tail in whole:
        notes.add("prompt_as_served")
        return header + whole[whole.rfind(tail) + len(tail) :]
    fault = "generation_prompt_differs" if alone else "earlier_turn_changes"
    raise Unfit(FAILED, DIFFERS if alone else CHANGES, fault)


def content_end(
    until: str, start: int, message: Message, notes: set[str], instead: Callable[[str], str] | None = None
) -> int:
    """The character behind the message's content in its turn, which begins at `start`; `start` for one of tool calls
    alone. Raises Unfit where the template shows it not whole.

    `instead`: `until` with another content; it is asked where the content stands there more than once.
    """
    thought, said = thought_of(message)
    at = start
    if thought:
        found = until.find(thought, start)
        if found < 0:
            raise Unfit(FAILED, NO_REASONING, "left_out")
        at = found + len(thought)
    found = until.find(said, at)
    if found < 0:
        raise Unfit(FAILED, "The chat template does not show the content of an assistant message.", "content_missing")
    if said and instead and until.find(said, found + 1) > 0:
        # "n" in "<think>", "final" in the name of a channel.
        _, there, rest = instead(STAND_IN).partition(STAND_IN)
        if there and until.endswith(said + rest):
            found = len(until) - len(said + rest)
    if said and not thought and "</think>" in until[start:found]:
        notes.add("empty_reasoning")
    return found + len(said)


def without_blanks(text: str, content: str) -> str:
    """Without white space at the beginning, but for the content's own."""
    rest = text.lstrip()
    blank, own = text[: len(text) - len(rest)], content[: len(content) - len(content.lstrip())]
    return own + rest if blank.endswith(own) else rest
