"""Who is better than whom: repeats, contradictions, cycles, and how the prompts are spread, from digests alone.

28 bytes a comparison. Above `MOST` of them only every second prompt is kept, then every fourth, ...: whole prompts, so
that all shares stay true.
"""

from array import array
from typing import Any

from core.contract.finding import Finding
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
        self._lines, self._prompts = array("I"), array("Q")
        self._better, self._worse = array("Q"), array("Q")

    def see(self, seen: Seen) -> None:
        prompt = digest(seen.prompt)
        if prompt & self._mask:
            return
        answers = [digest(each) or 1 for each in seen.answers]
        if seen.label is not None:
            self._add(seen.line, prompt, *((answers[0], NOBODY) if seen.label else (NOBODY, answers[0])))
            return
        for better, worse in seen.comparisons():
            self._add(seen.line, prompt, answers[better], answers[worse])

    def _add(self, line: int, prompt: int, better: int, worse: int) -> None:
        self._lines.append(line)
        self._prompts.append(prompt)
        self._better.append(better)
        self._worse.append(worse)
        if len(self._lines) > self._most:
            self._thin()

    def _thin(self) -> None:
        import numpy as np

        self._mask = self._mask << 1 | 1
        kept = (np.frombuffer(self._prompts, np.uint64) & np.uint64(self._mask)) == 0
        for name, kind in (("_lines", "I"), ("_prompts", "Q"), ("_better", "Q"), ("_worse", "Q")):
            values = np.frombuffer(getattr(self, name), np.uint32 if kind == "I" else np.uint64)[kept]
            setattr(self, name, array(kind, values.tobytes()))

    def findings(self) -> list[Finding]:
        if not self._lines:
            return []
        return _Sorted(self._lines, self._prompts, self._better, self._worse, self._mask + 1).findings()


class _Sorted:
    """The comparisons by prompt, then by the two answers whichever is better, then by line."""

    def __init__(
        self, lines: "array[int]", prompts: "array[int]", better: "array[int]", worse: "array[int]", every: int
    ) -> None:
        import numpy as np

        ours, theirs = np.frombuffer(better, np.uint64), np.frombuffer(worse, np.uint64)
        asked, at = np.frombuffer(prompts, np.uint64), np.frombuffer(lines, np.uint32)
        low, high, forward = np.minimum(ours, theirs), np.maximum(ours, theirs), ours < theirs
        order = np.lexsort((at, forward, high, low, asked))
        self.lines, self.prompts = at[order], asked[order]
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
        self.records = len(np.unique(self.lines))

    def findings(self) -> list[Finding]:
        repeated = self.repeats()
        return [self.contradictions(), self.cycles(), repeated, self.coverage()]

    def repeats(self) -> Finding:
        """A record is a repeat when every comparison of it was made before."""
        import numpy as np

        places, record = np.unique(self.lines, return_inverse=True)
        again = np.bincount(record, weights=~self.first) == np.bincount(record)
        lines = places[again]
        shown = np.flatnonzero(np.isin(self.lines, lines[:EXAMPLES]))
        # The line of the first of the run of equal comparisons that each is in.
        starts = np.maximum.accumulate(np.where(self.first, np.arange(len(self.first)), 0))[shown]
        before = dict(zip(self.lines[shown].tolist(), self.lines[starts].tolist(), strict=True))
        examples = [(line, f"as line {before[line]}") for line in lines[:EXAMPLES].tolist()]
        return self._told("exact_duplicates", len(lines), examples)

    def contradictions(self) -> Finding:
        import numpy as np

        lines = np.unique(self.lines[self.opposed])
        examples = []
        for number in np.unique(self.group[self.opposed])[: EXAMPLES // 2].tolist():
            here = np.unique(self.lines[self.group == number]).tolist()
            told = ", ".join(map(str, here[:6]))
            examples += [(line, f"lines {told} compare the same two answers, with both results") for line in here[:2]]
        return self._told("contradictions", len(lines), sorted(examples))

    def cycles(self) -> Finding:
        """Circles of three answers or more; one of two is a contradiction."""
        import numpy as np

        edge = self.first & ~self.opposed & (self.better != NOBODY) & (self.worse != NOBODY)
        prompts, lines, better, worse = (each[edge] for each in (self.prompts, self.lines, self.better, self.worse))
        _, prompt, sizes = np.unique(prompts, return_inverse=True, return_counts=True)
        enough = (sizes >= 3)[prompt]
        prompts, lines = prompts[enough], lines[enough]
        circles, examples, hit = 0, [], lines[:0]
        if enough.any():
            inside, circle = _circles(prompts, better[enough], worse[enough])
            circles = len(np.unique(prompts[inside]))
            lines, circle = lines[inside], circle[inside]
            hit, first = np.unique(lines, return_index=True)
            for line, number in zip(hit[:EXAMPLES].tolist(), circle[first[:EXAMPLES]].tolist(), strict=True):
                together = ", ".join(map(str, np.unique(lines[circle == number])[:8].tolist()))
                examples.append((line, f"a circle over lines {together}"))
        return finding("cycles", circles, count=len(hit), share=len(hit) / self.records, examples=examples)

    def coverage(self) -> Finding:
        import numpy as np

        order = np.lexsort((self.lines, self.prompts))
        prompts, lines = self.prompts[order], self.lines[order]
        record = np.ones(len(order), bool)
        record[1:] = (prompts[1:] != prompts[:-1]) | (lines[1:] != lines[:-1])
        prompts, lines = prompts[record], lines[record]
        names, counts = np.unique(prompts, return_counts=True)
        shares = counts / counts.sum()
        top = int(counts.argmax())
        share, count = float(shares[top]), int(counts[top])
        examples = [(line, "the top prompt") for line in lines[prompts == names[top]][:EXAMPLES].tolist()]
        return finding(
            "prompt_coverage",
            share,
            count=count,
            share=share,
            severity="info" if count < TOP_FROM else None,
            examples=examples if count >= TOP_FROM else [],
            detail={"distinct": len(names), "effective": round(float(1 / (shares**2).sum()), 1), **self._sampled()},
        )

    def _told(self, code: str, count: int, examples: list[tuple[int, str]]) -> Finding:
        share = count / self.records
        detail = {"of": self.records, **self._sampled()}
        return finding(code, share, count=count, share=share, examples=examples, detail=detail)

    def _sampled(self) -> dict[str, Any]:
        return {"one_prompt_of": self.every} if self.every > 1 else {}


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
