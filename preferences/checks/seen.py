"""A canonical record as the checks look at it: its texts, and which answer is better than which."""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.contract.finding import Place
from core.contract.preference import AnyRecord, Message, RankingRecord, UnpairedRecord
from preferences.answers import encode

# A ranking of more answers is taken as its best one against each of the others.
MOST_COMPARED = 16


@dataclass(slots=True)
class Seen:
    """`place` is the same for all records of a row. `ranks[i]` is that of `answers[i]`, 1 the best; a single answer has
    a `label` instead. `looks`: what preferences.checks.bias saw in the answers, kept for its second look at them."""

    record: AnyRecord
    place: Place
    prompt: str
    answers: list[str]
    ranks: list[int]
    label: bool | None = None
    looks: list[Any] | None = None

    def comparisons(self) -> list[tuple[int, int]]:
        """Places of the better and of the worse answer."""
        ranks = self.ranks
        if len(ranks) == 2:
            return [] if ranks[0] == ranks[1] else [(0, 1) if ranks[0] < ranks[1] else (1, 0)]
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        above = order if len(order) <= MOST_COMPARED else order[:1]
        return [(one, other) for at, one in enumerate(above) for other in order[at + 1 :] if ranks[one] < ranks[other]]


def look(record: AnyRecord, row: int, element: int | None = None) -> Seen:
    """`row` and `element` as in `Place`."""
    prompt = told(record.prompt)
    place = Place(row, record.origin.line, element)
    if isinstance(record, UnpairedRecord):
        return Seen(record, place, prompt, [told(record.completion)], [], record.label)
    if isinstance(record, RankingRecord):
        return Seen(record, place, prompt, [told(each) for each in record.completions], record.ranks)
    ranks = [1, 2] if record.kind == "pair" else [1, 1]
    return Seen(record, place, prompt, [told(record.chosen), told(record.rejected)], ranks)


def told(turns: Sequence[Message]) -> str:
    """What the turns say; a conversation names its roles, an answer of one turn is its text alone."""
    if len(turns) == 1 and not turns[0].tool_calls:
        return turns[0].content or ""
    return "\n\n".join(
        f"{turn.role}: {turn.content or ''}{encode(turn.tool_calls) if turn.tool_calls else ''}" for turn in turns
    )


def digest(text: str) -> int:
    """64 bits; white space and Unicode's several spellings of a letter make no difference to it."""
    folded = " ".join(text.split())
    if not folded.isascii():
        folded = unicodedata.normalize("NFC", folded)
    return int.from_bytes(hashlib.blake2b(folded.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
