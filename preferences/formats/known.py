"""The formats that are read, in the order in which they are tried."""

from collections.abc import Callable
from typing import NamedTuple

from core.contract.preference import Kind
from preferences.draft import Draft, Row
from preferences.formats import hh, kto, openai, ranked, triple, trl


class Format(NamedTuple):
    name: str
    keys: str
    matches: Callable[[Row], bool]
    read: Callable[[Row], Draft | list[Draft]]
    kind: Kind = "pair"


FORMATS = (
    Format(openai.NAME, openai.KEYS, openai.matches, openai.read),
    Format(trl.CONVERSATIONAL, trl.CONVERSATIONAL_KEYS, trl.matches_conversational, trl.read_conversational),
    Format(trl.IMPLICIT, trl.IMPLICIT_KEYS, trl.matches_implicit, trl.read_implicit),
    Format(triple.NAME, triple.KEYS, triple.matches, triple.read),
    Format(hh.NAME, hh.KEYS, hh.matches, hh.read),
    Format(ranked.NAME, ranked.KEYS, ranked.matches, ranked.read, "ranking"),
    Format(kto.NAME, kto.KEYS, kto.matches, kto.read, "unpaired"),
)
BY_NAME = {known.name: known for known in FORMATS}


def supported() -> str:
    return "; ".join(f"{known.name}: {known.keys}" for known in FORMATS)
