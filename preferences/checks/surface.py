"""What an answer looks like before one reads it: mark-up, refusals."""

import re
from math import log1p
from typing import NamedTuple

_LIST = re.compile(r"^[ \t]*(?:[-*+•] |\d{1,3}[.)] )", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am)(?: very| really| so)? sorry|i apologi[sz]e|i(?:'m| am) (?:not able|unable)"
    r"|i (?:can ?not|can't|won't)|i (?:must|have to) (?:decline|refuse)|as an ai\b|as a language model"
    r"|i(?:'d| would) rather not|i do(?:n't| not) (?:think i can|feel comfortable))"
)
# One of these is in every refusal that the pattern knows; most answers have none, and are passed at once.
_HINTS = (
    "sorry", "apolog", "able", "cannot", "can not", "can't", "won't", "must", "have to", "an ai", "language model",
    "rather not", "think i can", "comfortable",
)  # fmt: skip
# A refusal says so at once.
BEGINNING = 160


class Marks(NamedTuple):
    list: bool
    heading: bool
    code: bool
    emoji: bool
    link: bool


def marks(text: str) -> Marks:
    return Marks(
        # A text of one line is far cheaper to look at.
        list=(_LIST.search(text) if "\n" in text else _LIST.match(text)) is not None,
        heading="# " in text and _HEADING.search(text) is not None,
        code="```" in text,
        emoji=not text.isascii() and _EMOJI.search(text) is not None,
        link="://" in text or "](" in text,
    )


def refuses(text: str) -> bool:
    start = text[:BEGINNING].replace("’", "'").lower()
    return any(hint in start for hint in _HINTS) and _REFUSAL.search(start) is not None


FEATURES = (
    "characters",
    "words",
    "lines",
    "length of words",
    "punctuation",
    "commas",
    "digits",
    "capitals",
    "ends with a full stop",
    "ends with a question",
    "exclamation marks",
    "bold",
    "quotes",
    "refusal",
    *(f"{name} mark-up" for name in Marks._fields),
)
_PUNCTUATION = re.compile(r"[^\w\s]")
_CAPITAL = re.compile(r"[A-Z]")
_DIGIT = re.compile(r"\d")
# Of an answer longer than this the beginning is looked at, and its length.
_LOOKED_AT = 20_000


def features(text: str) -> list[float]:
    """Numbers in the order of FEATURES; shares are of the characters."""
    size, text = len(text), text[:_LOOKED_AT]
    here = max(1, len(text))
    words = len(text.split())
    end = text.rstrip()[-1:]
    return [
        log1p(size),
        log1p(words),
        log1p(text.count("\n")),
        log1p(here / max(1, words)),
        len(_PUNCTUATION.findall(text)) / here,
        text.count(",") / here,
        len(_DIGIT.findall(text)) / here,
        len(_CAPITAL.findall(text)) / here,
        float(end == "."),
        float(end == "?"),
        log1p(text.count("!")),
        float("**" in text),
        float('"' in text or "“" in text),
        float(refuses(text)),
        *map(float, marks(text)),
    ]
