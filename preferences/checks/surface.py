"""What an answer looks like before one reads it: mark-up, refusals."""

import re
from typing import NamedTuple

_LIST = re.compile(r"^[ \t]*(?:[-*+•] |\d{1,3}[.)] )", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am)(?: very| really| so)? sorry|i apologi[sz]e|i(?:'m| am) (?:not able|unable)"
    r"|i (?:can ?not|can't|won't)|i (?:must|have to) (?:decline|refuse)|as an ai\b|as a language model"
    r"|i(?:'d| would) rather not|i do(?:n't| not) (?:think i can|feel comfortable))"
)
# A refusal says so at once.
_BEGINNING = 160


class Marks(NamedTuple):
    list: bool
    heading: bool
    code: bool
    emoji: bool
    link: bool


def marks(text: str) -> Marks:
    return Marks(
        list=_LIST.search(text) is not None,
        heading="# " in text and _HEADING.search(text) is not None,
        code="```" in text,
        emoji=not text.isascii() and _EMOJI.search(text) is not None,
        link="://" in text or "](" in text,
    )


def refuses(text: str) -> bool:
    return _REFUSAL.search(text[:_BEGINNING].replace("’", "'").lower()) is not None
