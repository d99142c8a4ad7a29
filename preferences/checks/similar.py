"""Records that are nearly another record: MinHash finds them, 84 bytes a record, up to `MOST` records."""

from array import array
from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from preferences.checks.minhash import BANDS, LEAST, Waiting, likeness, words
from preferences.checks.seen import Seen

MOST = 1_000_000
# Of a long prompt as many words count as the answers have, or two records would be alike for asking the same.
PROMPT_WORDS = 32


class NearDuplicates:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting = Waiting()
        self._rows, self._marks = array("I"), array("Q")
        self._bands, self._sums = array("Q"), array("Q")
        self._beyond = 0

    def see(self, seen: Seen) -> None:
        if len(self._marks) >= self._most:
            self._beyond += 1
            return
        answers = [words(each) for each in seen.answers]
        kept = max(PROMPT_WORDS, max(map(len, answers)))
        # So many words end within so many characters, but in a text made of huge ones.
        asked = words(seen.prompt[-16 * kept :])
        # A wanted answer and an unwanted one are different things.
        label = [] if seen.label is None else [array("I", [seen.label])]
        self._waiting.add([asked[-kept:], *answers, *label])
        assert seen.place.row is not None
        self._rows.append(seen.place.row)
        self._marks.append(seen.place.mark)
        if self._waiting.full:
            self._flush()

    def _flush(self) -> None:
        bands, sums = self._waiting.take()
        self._bands.frombytes(bands.tobytes())
        self._sums.frombytes(sums.tobytes())

    def earlier(self) -> Any:
        """For each record, in the order in which they were seen, the place of one that it nearly repeats, or -1."""
        import numpy as np

        if self._waiting:
            self._flush()
        bands = np.frombuffer(self._bands, np.uint64).reshape(-1, BANDS)
        return _earlier(bands, np.frombuffer(self._sums, np.uint64), np.frombuffer(self._rows, np.uint32))

    def findings(self) -> list[Finding]:
        if not self._marks:
            return []
        import numpy as np

        earlier = self.earlier()
        hit = np.flatnonzero(earlier >= 0)
        examples = [
            (self._place(each), f"nearly {self._place(earlier[each]).told}") for each in hit[:EXAMPLES].tolist()
        ]
        share, of = len(hit) / len(self._marks), len(self._marks)
        detail: dict[str, Any] = {"of": of, **({"not_compared": self._beyond} if self._beyond else {})}
        return [finding("near_duplicates", share, count=len(hit), share=share, examples=examples, detail=detail)]

    def _place(self, number: int) -> Place:
        return Place.unpacked(self._rows[number], self._marks[number])


def _earlier(bands: Any, sums: Any, rows: Any) -> Any:
    """For each record the place of an earlier one that is nearly the same, or -1; an equal one is not nearly so, nor
    is one of the same row: several answers make several records.

    In a group that shares a band each is compared with the first and with the one before: a huge group costs no more.
    """
    import numpy as np

    found = np.full(len(bands), -1, np.int64)
    for band in range(bands.shape[1]):
        order = np.argsort(bands[:, band], kind="stable")
        key = bands[order, band]
        later = np.flatnonzero(key[1:] == key[:-1]) + 1
        if not len(later):
            continue
        starts = np.maximum.accumulate(np.where(np.r_[True, key[1:] != key[:-1]], np.arange(len(key)), 0))
        for other in (starts[later], later - 1):
            ours, theirs = order[later], order[other]
            new = (found[ours] < 0) & (sums[ours] != sums[theirs]) & (rows[ours] != rows[theirs])
            ours, theirs = ours[new], theirs[new]
            for at in range(0, len(ours), 1 << 16):
                one, two = ours[at : at + (1 << 16)], theirs[at : at + (1 << 16)]
                alike = likeness(bands[one], bands[two]) >= LEAST
                found[one[alike]] = two[alike]
    return found
