"""Who is better than whom: repeats, contradictions, cycles, and how the prompts are spread, from digests alone.

36 bytes a comparison. Above `MOST` of them only every second prompt is kept, then every fourth, ...: whole prompts, so
that all shares stay true.
"""

from array import array
from collections.abc import Sequence
from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding
from preferences.checks.seen import Seen, digest

MOST = 4_000_000
# A prompt of fewer records is no sign of a narrow file, however short the file.
TOP_FROM = 5
# Stands for the other side of a single answer.
NOBODY = 0

Vector = Any


class Graph:
    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._mask = 0
        self._rows, self._marks, self._prompts = array("I"), array("Q"), array("Q")
        self._better, self._worse = array("Q"), array("Q")

    def see(self, seen: Seen) -> None:
        prompt = digest(seen.prompt)
        if prompt & self._mask:
            return
        answers = [digest(each) or 1 for each in seen.answers]
        if seen.label is not None:
            self._add(seen.place, prompt, *((answers[0], NOBODY) if seen.label else (NOBODY, answers[0])))
            return
        for better, worse in seen.comparisons():
            self._add(seen.place, prompt, answers[better], answers[worse])

    def _add(self, place: Place, prompt: int, better: int, worse: int) -> None:
        assert place.row is not None
        self._rows.append(place.row)
        self._marks.append(place.mark)
        self._prompts.append(prompt)
        self._better.append(better)
        self._worse.append(worse)
        if len(self._marks) > self._most:
            self._thin()

    def _thin(self) -> None:
        import numpy as np

        self._mask = self._mask << 1 | 1
        kept = (np.frombuffer(self._prompts, np.uint64) & np.uint64(self._mask)) == 0
        for name, kind in (("_rows", "I"), ("_marks", "Q"), ("_prompts", "Q"), ("_better", "Q"), ("_worse", "Q")):
            values = np.frombuffer(getattr(self, name), np.uint32 if kind == "I" else np.uint64)[kept]
            setattr(self, name, array(kind, values.tobytes()))

    def findings(self) -> list[Finding]:
        if not self._marks:
            return []
        return _Sorted(self._rows, self._marks, self._prompts, self._better, self._worse, self._mask + 1).findings()


class _Sorted:
    """The comparisons by prompt, then by the two answers whichever is better, then by row."""

    def __init__(
        self,
        rows: "array[int]",
        marks: "array[int]",
        prompts: "array[int]",
        better: "array[int]",
        worse: "array[int]",
        every: int,
    ) -> None:
        import numpy as np

        ours, theirs = np.frombuffer(better, np.uint64), np.frombuffer(worse, np.uint64)
        asked, at = np.frombuffer(prompts, np.uint64), np.frombuffer(rows, np.uint32)
        low, high, forward = np.minimum(ours, theirs), np.maximum(ours, theirs), ours < theirs
        order = np.lexsort((at, forward, high, low, asked))
        self.rows, self.prompts = at[order], asked[order]
        self.marks = np.frombuffer(marks, np.uint64)[order]
        self.better, self.worse, forward = ours[order], theirs[order], forward[order]
        low, high = low[order], high[order]
        new = np.ones(len(order), bool)
        new[1:] = (self.prompts[1:] != self.prompts[:-1]) | (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        self.first = new.copy()
        self.first[1:] |= forward[1:] != forward[:-1]
        # Both directions occur in a group of the same two answers.
        group = np.cumsum(new) - 1
        ways = np.bincount(group, weights=forward)
        sizes = np.bincount(group)
        self.opposed = ((ways > 0) & (ways < sizes))[group]
        self.group = group
        self.every = every
        self.records = len(np.unique(self.rows))

    def findings(self) -> list[Finding]:
        repeated = self.repeats()
        return [self.contradictions(), self.cycles(), repeated, self.coverage()]

    def repeats(self) -> Finding:
        """A record is a repeat when every comparison of it was made before."""
        import numpy as np

        numbers, record = np.unique(self.rows, return_inverse=True)
        again = np.bincount(record, weights=~self.first) == np.bincount(record)
        rows = numbers[again]
        shown = np.flatnonzero(np.isin(self.rows, rows[:EXAMPLES]))
        # The first of the run of equal comparisons that each is in.
        starts = np.maximum.accumulate(np.where(self.first, np.arange(len(self.first)), 0))[shown]
        before = dict(zip(self.rows[shown].tolist(), self.marks[starts].tolist(), strict=True))
        examples = [
            (place, f"as {Place.unpacked(None, before[place.row]).told}") for place in self.places(shown, EXAMPLES)
        ]
        return self._told("exact_duplicates", len(rows), examples)

    def places(self, of: Vector, most: int) -> list[Place]:
        """The first rows of these comparisons."""
        import numpy as np

        rows, first = np.unique(self.rows[of], return_index=True)
        marks = self.marks[of][first[:most]]
        return [Place.unpacked(row, mark) for row, mark in zip(rows[:most].tolist(), marks.tolist(), strict=True)]

    def contradictions(self) -> Finding:
        import numpy as np

        examples = []
        for number in np.unique(self.group[self.opposed])[: EXAMPLES // 2].tolist():
            here = self.places(self.group == number, 6)
            told = _lines(here)
            examples += [(place, f"{told} compare the same two answers, with both results") for place in here[:2]]
        return self._told("contradictions", len(np.unique(self.rows[self.opposed])), sorted(examples))

    def cycles(self) -> Finding:
        """Circles of three answers or more; one of two is a contradiction."""
        import numpy as np

        edge = self.first & ~self.opposed & (self.better != NOBODY) & (self.worse != NOBODY)
        at = np.flatnonzero(edge)
        prompts, better, worse = (each[edge] for each in (self.prompts, self.better, self.worse))
        _, prompt, sizes = np.unique(prompts, return_inverse=True, return_counts=True)
        enough = (sizes >= 3)[prompt]
        prompts, at = prompts[enough], at[enough]
        circles, examples, hit = 0, [], at[:0]
        if enough.any():
            inside, circle = _circles(prompts, better[enough], worse[enough])
            circles = len(np.unique(prompts[inside]))
            at, circle = at[inside], circle[inside]
            hit, first = np.unique(self.rows[at], return_index=True)
            for place, number in zip(self.places(at, EXAMPLES), circle[first[:EXAMPLES]].tolist(), strict=True):
                examples.append((place, f"a circle over {_lines(self.places(at[circle == number], 8))}"))
        return finding("cycles", circles, count=len(hit), share=len(hit) / self.records, examples=examples)

    def coverage(self) -> Finding:
        import numpy as np

        order = np.lexsort((self.rows, self.prompts))
        prompts, rows = self.prompts[order], self.rows[order]
        record = np.ones(len(order), bool)
        record[1:] = (prompts[1:] != prompts[:-1]) | (rows[1:] != rows[:-1])
        prompts, order = prompts[record], order[record]
        names, counts = np.unique(prompts, return_counts=True)
        shares = counts / counts.sum()
        top = int(counts.argmax())
        share, count = float(shares[top]), int(counts[top])
        examples = [(place, "the top prompt") for place in self.places(order[prompts == names[top]], EXAMPLES)]
        return finding(
            "prompt_coverage",
            share,
            count=count,
            share=share,
            severity="info" if count < TOP_FROM else None,
            examples=examples if count >= TOP_FROM else [],
            detail={"distinct": len(names), "effective": round(float(1 / (shares**2).sum()), 1), **self._sampled()},
        )

    def _told(self, code: str, count: int, examples: list[tuple[Place, str]]) -> Finding:
        share = count / self.records
        detail = {"of": self.records, **self._sampled()}
        return finding(code, share, count=count, share=share, examples=examples, detail=detail)

    def _sampled(self) -> dict[str, Any]:
        return {"one_prompt_of": self.every} if self.every > 1 else {}


def _lines(places: Sequence[Place]) -> str:
    words = "lines" if places[0].element is None else "elements"
    return f"{words} {', '.join(place.number for place in places)}"


def _circles(prompts: Vector, better: Vector, worse: Vector) -> tuple[Vector, Vector]:
    """Which edges lie on a circle, and the number of the strongly connected part that each begins in."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    spread = prompts * np.uint64(0x9E3779B97F4A7C15)
    nodes, ends = np.unique(np.concatenate([spread ^ better, spread ^ worse]), return_inverse=True)
    start, end = np.split(ends, 2)
    links = coo_array((np.ones(len(start), bool), (start, end)), shape=(len(nodes), len(nodes)))
    _, part = connected_components(links, directed=True, connection="strong")
    return part[start] == part[end], part[start]
