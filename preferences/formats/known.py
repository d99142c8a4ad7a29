"""The formats that are read, in the order in which they are tried."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.contract.preference import Kind
from preferences.draft import Draft, Row
from preferences.formats import (
    alpaca,
    argilla,
    helpsteer,
    hh,
    kto,
    nemo,
    openai,
    ranked,
    sharegpt,
    swift,
    triple,
    trl,
    ultrafeedback,
    vertex,
)


class Format(NamedTuple):
    name: str
    keys: str
    matches: Callable[[Row], bool]
    read: Callable[[Row], Draft | list[Draft]]
    kind: Kind = "pair"


FORMATS = (
    Format(openai.NAME, openai.KEYS, openai.matches, openai.read),
    Format(vertex.NAME, vertex.KEYS, vertex.matches, vertex.read),
    Format(nemo.RL, nemo.RL_KEYS, nemo.matches_rl, nemo.read_rl),
    Format(nemo.ALIGNER, nemo.ALIGNER_KEYS, nemo.matches_aligner, nemo.read_aligner),
    Format(argilla.NAME, argilla.KEYS, argilla.matches, argilla.read),
    Format(sharegpt.NAME, sharegpt.KEYS, sharegpt.matches, sharegpt.read),
    Format(alpaca.NAME, alpaca.KEYS, alpaca.matches, alpaca.read),
    Format(swift.NAME, swift.KEYS, swift.matches, swift.read),
    Format(trl.CONVERSATIONAL, trl.CONVERSATIONAL_KEYS, trl.matches_conversational, trl.read_conversational),
    Format(trl.IMPLICIT, trl.IMPLICIT_KEYS, trl.matches_implicit, trl.read_implicit),
    Format(ultrafeedback.NAME, ultrafeedback.KEYS, ultrafeedback.matches, ultrafeedback.read),
    Format(triple.NAME, triple.KEYS, triple.matches, triple.read),
    Format(hh.NAME, hh.KEYS, hh.matches, hh.read),
    Format(ranked.NAME, ranked.KEYS, ranked.matches, ranked.read, "ranking"),
    Format(helpsteer.NAME, helpsteer.KEYS, helpsteer.matches, helpsteer.read),
    Format(kto.NAME, kto.KEYS, kto.matches, kto.read, "unpaired"),
)
BY_NAME = {known.name: known for known in FORMATS}


def supported() -> str:
    return "; ".join(f"{known.name}: {known.keys}" for known in FORMATS)


def settled(format: Format, rows: Sequence[Row]) -> Format:
    """Where a format has two kinds of files, the one that its first rows are of."""
    if format.name == nemo.RL and nemo.more_than_two(rows):
        return format._replace(read=nemo.read_rl_ranking, kind="ranking")
    return format
