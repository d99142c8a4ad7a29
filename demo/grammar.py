"""Small stories from a template grammar: an opening, and endings of two kinds that belong to it."""

import hashlib
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from demo import wording

Kind = Literal["intriguing", "flat", "broken"]
KINDS: tuple[Kind, ...] = ("intriguing", "flat", "broken")
SENTENCES = {
    "intriguing": (wording.INTRIGUING_FIRST, wording.INTRIGUING_SECOND),
    "flat": (wording.FLAT_FIRST, wording.FLAT_SECOND),
}
PEOPLE = wording.WOMEN + wording.MEN
HELD_OUT_SHARE = 8


@dataclass(frozen=True)
class Opening:
    """What a story is about; `text` is the user's message."""

    text: str
    name: str
    place: str
    thing: str
    clue: str


@dataclass(frozen=True)
class Story:
    opening: Opening
    ending: str


def opening(rng: random.Random) -> Opening:
    """One opening, drawn uniformly over every slot."""
    clue, event = rng.choice(list(wording.EVENTS.items()))
    name, place, thing = (rng.choice(c) for c in (PEOPLE, list(wording.PLACES), list(wording.THINGS)))
    slots = _slots(name, place, thing, clue)
    slots |= {"the_place": wording.PLACES[place], "the_thing": wording.THINGS[thing]}
    slots |= {"role": rng.choice(wording.ROLES), "when": rng.choice(wording.WHENS), "event": event}
    return Opening(_an(rng.choice(wording.OPENINGS).format(**slots)), name, place, thing, clue)


def ending(about: Opening, kind: Literal["intriguing", "flat"], rng: random.Random) -> str:
    """One ending of that kind, about the opening's own character, place, thing and strange event."""
    slots = _slots(about.name, about.place, about.thing, about.clue)
    return " ".join(rng.choice(sentences).format(**slots) for sentences in SENTENCES[kind])


def held_out(about: Opening) -> bool:
    """Whether an opening is kept from all training: decided by its own sha256, so no seed can mix the two sides."""
    return hashlib.sha256(about.text.encode()).digest()[0] % HELD_OUT_SHARE == 0


def openings(seed: str, *, unseen: bool) -> Iterator[Opening]:
    """Distinct openings without end, the same for the same seed: held-out ones, or those for training."""
    rng = random.Random(seed)
    told: set[str] = set()
    while True:
        about = opening(rng)
        if held_out(about) == unseen and about.text not in told:
            told.add(about.text)
            yield about


def stories(seed: str) -> Iterator[Story]:
    """What the base model reads: training openings, each with one ending, intriguing or flat at even odds."""
    rng = random.Random(f"{seed}/endings")
    for about in openings(seed, unseen=False):
        yield Story(about, ending(about, rng.choice(("intriguing", "flat")), rng))


def kind(text: str) -> Kind:
    """The kind of an ending: `broken` unless both sentences are ones that the grammar can make, of one kind.

    Tolerated: case, runs of white space, and any of the grammar's own names, things and pronouns in a slot, also when
    they are not the opening's (`faithful` looks at that). Not tolerated: another wording, a missing or further
    sentence, a first sentence of one kind with a second of the other.
    """
    folded = " ".join(text.split())
    for name in KINDS[:2]:
        if _pattern(name).fullmatch(folded):
            return name
    return "broken"


def faithful(text: str, about: Opening) -> bool:
    """Whether an ending names no other character, place, thing or strange event than those of its opening."""
    own = {about.name, about.place, about.thing, about.clue}
    return all(found.group().lower() in {word.lower() for word in own} for found in _proper().finditer(text))


def _slots(name: str, place: str, thing: str, clue: str) -> dict[str, str]:
    she, her, him = ("she", "her", "her") if name in wording.WOMEN else ("he", "his", "him")
    slots = {"name": name, "place": place, "thing": thing, "clue": clue, "she": she, "her": her, "him": him}
    return slots | {"She": she.capitalize()}


def _an(text: str) -> str:
    """The one role that begins with a vowel."""
    return text.replace(" a astronomer", " an astronomer")


@cache
def _pattern(kind: str) -> re.Pattern[str]:
    slots = {"name": _either(PEOPLE), "place": _either(wording.PLACES), "thing": _either(wording.THINGS)}
    slots |= {
        "clue": _either(wording.EVENTS),
        "she": "(?:she|he)",
        "She": "(?:she|he)",
        "her": "(?:her|his)",
        "him": "(?:her|him)",
    }
    first, second = (
        "|".join(re.sub(r"\\\{(\w+)\\\}", lambda found: slots[found[1]], re.escape(s)) for s in sentences)
        for sentences in SENTENCES[kind]
    )
    return re.compile(f"(?:{first}) (?:{second})", re.IGNORECASE)


@cache
def _proper() -> re.Pattern[str]:
    words = (*PEOPLE, *wording.PLACES, *wording.THINGS, *wording.EVENTS)
    return re.compile(rf"\b{_either(words)}\b", re.IGNORECASE)


def _either(words: Iterable[str]) -> str:
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + ")"
