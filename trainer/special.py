"""Texts that hold a special token of the model, which would steer it: such records fall out, with advice."""

import re
from collections.abc import Sequence
from json import dumps
from typing import Any

from core.contract.preference import Message, Record
from trainer.manner import arguments
from trainer.unfit import Unfit


def refuse_special(
    special: re.Pattern[str], record: Record, prompt: Sequence[Message], told: Sequence[Message]
) -> None:
    """Raises Unfit where a text would become a special token."""
    beside = written(record.tools) + written(record.chat_template_kwargs)
    if beside and (found := special.search(beside)):
        what = f"The tools or template variables of the record contain {found.group()!r}"
        raise Unfit("special_token_in_text", f"{what}, a special token of the model.")
    for message in told:
        found = next(filter(None, map(special.search, texts(message))), None)
        if found is None:
            continue
        reason = f"A message contains {found.group()!r}, a special token of the model."
        content = (message.content or "").strip()
        if len(prompt) == 1 and message is prompt[0] and found.start() == 0 and content.startswith(found.group()):
            reason += (
                " The prompt looks as if a chat template had been applied to it already: upload the file with "
                "--raw-text (`palate[raw_text]`) to train on the texts as they stand."
            )
        elif message.role == "assistant" and content.endswith(found.group()):
            reason += (
                " The template writes the end of a turn by itself: take it off the answers; or, where prompts and "
                "answers hold the whole text, upload the file with --raw-text (`palate[raw_text]`)."
            )
        raise Unfit("special_token_in_text", reason)


def texts(message: Message) -> list[str]:
    found = [message.content, message.reasoning_content, message.name]
    calls = message.tool_calls or []
    read = [[call, arguments(call.get("function") or {})] for call in calls]
    return [text for text in (*found, written(read)) if text]


def written(value: Any) -> str:
    return dumps(value, ensure_ascii=False) if value else ""
