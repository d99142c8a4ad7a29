"""Whether validation prompts stand in the training file: the same ones, and nearly the same."""

from collections.abc import Iterable
from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from core.contract.preference import AnyRecord
from preferences.checks.minhash import BANDS, LEAST, Waiting, likeness, words
from preferences.checks.seen import digest, told

# Of a band that more validation prompts share, this many are compared with a training prompt.
MOST_ALIKE = 1_000


def leakage(training: Iterable[AnyRecord], validation: Iterable[AnyRecord]) -> Finding:
    """The validation file is read first; of it 140 bytes a record are kept, of the training file nothing."""
    held_out = HeldOut()
    for record in validation:
        held_out.keep(record)
    for record in training:
        held_out.compare(record)
    return held_out.finding()


class Prompts:
    """Takes the prompts of a file while it is read."""

    def __init__(self) -> None:
        self.held_out = HeldOut()
        self.wanted = True

    def see(self, record: AnyRecord, row: int, element: int | None = None) -> None:
        self.held_out.keep(record, element)

    def findings(self) -> list[Finding]:
        return []


class HeldOut:
    """First `keep` the validation records, then `compare` the training ones; `element` as in `Place`."""

    def __init__(self) -> None:
        # Of each record the mark of its place.
        self._marks: list[int] = []
        self._by_prompt: dict[int, list[int]] = {}
        self._waiting = Waiting()
        # Two rows a prompt, as `_wait` has them.
        self._kept: list[Any] = []
        self._training: list[int] = []
        self._exact: dict[int, int] = {}
        self._near: dict[int, int] = {}
        self._sorted: list[tuple[Any, Any]] | None = None

    def keep(self, record: AnyRecord, element: int | None = None) -> None:
        prompt = told(record.prompt)
        self._by_prompt.setdefault(digest(prompt), []).append(len(self._marks))
        self._marks.append(Place(None, record.origin.line, element).mark)
        self._wait(prompt, record)
        if self._waiting.full:
            self._pack()

    def _wait(self, prompt: str, record: AnyRecord) -> None:
        """The turns behind system and developer ones, then the whole: prompts that share long instructions are not
        alike for that, nor are those that ask the same under other instructions."""
        asked = [turn for turn in record.prompt if turn.role not in ("system", "developer")]
        whole = words(prompt)
        self._waiting.add([words(told(asked)) if 0 < len(asked) < len(record.prompt) else whole])
        self._waiting.add([whole])

    def _pack(self) -> None:
        self._kept.append(self._waiting.take()[0])

    def compare(self, record: AnyRecord, element: int | None = None) -> None:
        if self._sorted is None:
            self._sort()
        prompt, mark = told(record.prompt), Place(None, record.origin.line, element).mark
        if (same := self._by_prompt.get(digest(prompt))) is not None:
            for place in same:
                self._exact.setdefault(place, mark)
            return
        self._wait(prompt, record)
        self._training.append(mark)
        if self._waiting.full:
            self._match()

    def _sort(self) -> None:
        import numpy as np

        if self._waiting:
            self._pack()
        bands = np.concatenate(self._kept) if self._kept else np.zeros((0, BANDS), np.uint64)
        self._kept = [bands]
        asked = bands[::2]
        orders = [np.argsort(asked[:, band], kind="stable") for band in range(BANDS)]
        self._sorted = [(asked[order, band], order) for band, order in enumerate(orders)]

    def _match(self) -> None:
        import numpy as np

        ours, marks = self._waiting.take()[0].reshape(-1, 2, BANDS), self._training
        bands = self._kept[0].reshape(-1, 2, BANDS)
        for band, (keys, order) in enumerate(self._sorted or []):
            starts = np.searchsorted(keys, ours[:, 0, band], "left")
            ends = np.searchsorted(keys, ours[:, 0, band], "right")
            for row in np.flatnonzero(ends > starts).tolist():
                places = order[starts[row] : min(ends[row], starts[row] + MOST_ALIKE)]
                for place in places[(likeness(bands[places], ours[row]) >= LEAST).all(axis=1)].tolist():
                    self._near.setdefault(place, marks[row])
        self._training = []

    def finding(self) -> Finding:
        if self._sorted is None:
            self._sort()
        if self._waiting:
            self._match()
        near = {place: mark for place, mark in self._near.items() if place not in self._exact}
        of = max(1, len(self._marks))
        examples = self._examples(self._exact, "its prompt is") + self._examples(near, "its prompt is nearly that")
        value = len(self._exact or near) / of
        return finding(
            "train_validation_leakage",
            value,
            count=len(self._exact) + len(near),
            share=(len(self._exact) + len(near)) / of,
            severity="warn" if near and not self._exact else None,
            examples=examples[:EXAMPLES],
            detail={"exact": len(self._exact), "near": len(near), "of": len(self._marks)},
        )

    def _examples(self, found: dict[int, int], words: str) -> list[tuple[Place, str]]:
        """The first validation records that have a training record."""
        return [
            (
                Place.unpacked(None, self._marks[place]),
                f"{words} on {Place.unpacked(None, mark).told} of the training file",
            )
            for place, mark in sorted(found.items())[:EXAMPLES]
        ]
