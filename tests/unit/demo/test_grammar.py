"""Stories: the same for the same seed, many of them, and every ending known for what it is."""

import itertools
import random
from typing import Literal

import pytest

from demo import grammar, wording

BOTH: tuple[Literal["intriguing", "flat"], ...] = ("intriguing", "flat")


def first(count: int, *, unseen: bool = False, seed: str = "t") -> list[grammar.Opening]:
    return list(itertools.islice(grammar.openings(seed, unseen=unseen), count))


def test_the_same_seed_tells_the_same_stories() -> None:
    one, two, other = (list(itertools.islice(grammar.stories(seed), 50)) for seed in ("a", "a", "b"))
    assert one == two
    assert one != other


def test_no_opening_is_told_twice() -> None:
    assert len({about.text for about in first(3000)}) == 3000


def test_held_out_openings_are_never_trained_on() -> None:
    unseen = first(200, unseen=True)
    assert all(grammar.held_out(about) for about in unseen)
    told = {story.opening.text for story in itertools.islice(grammar.stories("t"), 3000)}
    assert told.isdisjoint(about.text for about in unseen)


@pytest.mark.parametrize("kind", BOTH)
def test_endings_are_many(kind: Literal["intriguing", "flat"]) -> None:
    rng = random.Random(0)
    assert len({grammar.ending(about, kind, rng) for about in first(2000)}) > 1900
    about = first(1)[0]
    assert len({grammar.ending(about, kind, rng) for _ in range(3000)}) > 130  # of 144 for one opening


@pytest.mark.parametrize("kind", BOTH)
def test_every_ending_that_can_be_made_is_recognised(kind: Literal["intriguing", "flat"]) -> None:
    """Every first with every second sentence, each for another character, place and thing."""
    sentences = grammar.SENTENCES[kind]
    abouts = iter(first(len(sentences[0]) * len(sentences[1])))
    for pair in itertools.product(*sentences):
        about = next(abouts)
        text = " ".join(each.format(**slots(about)) for each in pair)
        assert grammar.kind(text) == kind
        assert grammar.faithful(text, about)


def slots(about: grammar.Opening) -> dict[str, str]:
    return grammar._slots(about.name, about.place, about.thing, about.clue)


def test_no_sentence_belongs_to_both_kinds() -> None:
    everything = [each for pair in grammar.SENTENCES.values() for sentences in pair for each in sentences]
    assert len(set(everything)) == len(everything) == 48


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Once upon a time there was a queen.",
        "Mara found the lantern in the mine, wrapped it in a piece of cloth and carried it home.",
        "Mara found the lantern in the mine, and on it, in fresh ink, her own name. What was for supper? It was soup, "
        "as it is on most days.",
        "Mara found the lantern in the mine, and on it, in fresh ink, her own own name. Who had known that she would "
        "come?",
        "Mara found the lantern in the castle, and on it, in fresh ink, her own name. Who had known that she would "
        "come?",
        "Mara found the lantern in the mine, and on it, in fresh ink, her own name. Who had known that she would come? "
        "The end.",
    ],
)
def test_what_the_grammar_cannot_make_is_broken(text: str) -> None:
    assert grammar.kind(text) == "broken"


def test_what_is_tolerated() -> None:
    first = "mara found the LANTERN  in the mine,\nand on it, in fresh ink, his own name."
    assert grammar.kind(f"{first}   Who had known that she would come? ") == "intriguing"


def test_an_ending_of_another_story_is_not_faithful() -> None:
    about = grammar.Opening("", "Mara", "mine", "lantern", "bell")
    assert grammar.faithful("Mara took the lantern down. Now she understood the bell.", about)
    assert not grammar.faithful("Felix took the lantern down.", about)
    assert not grammar.faithful("Mara took the mirror down.", about)
    assert not grammar.faithful("Mara took the lantern down. Now she understood the dog.", about)


def test_slots_are_told_apart() -> None:
    """No word of one slot is a word of another: `faithful` could not tell them apart."""
    words = [*grammar.PEOPLE, *wording.PLACES, *wording.THINGS, *wording.EVENTS]
    assert len(set(words)) == len(words)


def test_the_kinds_are_alike_on_the_surface() -> None:
    """Neither length nor question marks give the kind away."""
    rng = random.Random(0)
    pairs = [[grammar.ending(about, kind, rng) for kind in BOTH] for about in first(2000)]
    longer = sum(len(good) > len(flat) for good, flat in pairs) / len(pairs)
    assert 0.45 < longer < 0.55
    asking = [sum("?" in pair[index] for pair in pairs) / len(pairs) for index in (0, 1)]
    assert all(0.2 < share < 0.4 for share in asking)
