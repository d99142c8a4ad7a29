"""What tells the better answer from the other on sight: its length, its mark-up, a refusal, its place."""

from collections import Counter
from math import ceil, log, sqrt
from typing import Any

from core.contract.finding import Finding, Place, Severity
from core.contract.findings import CHECKS, EXAMPLES, finding, unseen
from preferences.checks.chance import Z, differ, interval
from preferences.checks.seen import Seen
from preferences.checks.surface import Marks, marks, refuses

# A length in steps of 2 %, so that however many fit in a few hundred counts.
STEP = log(1.02)
FEWEST = 10
POSITIONS = ("chosen_position", "preferred_position")
FIRST = {"first": 0, "a": 0, "left": 0, "second": 1, "b": 1, "right": 1}


class Bias:
    """Of the answers that are better and of those that are worse; single ones are wanted or not."""

    def __init__(self) -> None:
        self.compared = self.longer = self.same = 0
        self.ratios: Counter[int] = Counter()
        self.sides = (_Side(), _Side())
        self.long: tuple[list[tuple[Place, str]], list[tuple[Place, str]]] = ([], [])

    def see(self, seen: Seen) -> None:
        if (looks := seen.looks) is None:
            looks = seen.looks = [(len(each), marks(each), refuses(each)) for each in seen.answers]
        if seen.label is not None:
            self.sides[not seen.label].add(seen.place, *looks[0])
            return
        for better, worse in seen.comparisons():
            ours, theirs = looks[better][0], looks[worse][0]
            self.compared += 1
            self.longer += ours > theirs
            self.same += ours == theirs
            step = round(log((ours + 1) / (theirs + 1)) / STEP)
            self.ratios[step] += 1
            found = self.long[ours < theirs]
            if abs(step) > 35 and len(found) < EXAMPLES:
                found.append((seen.place, f"chosen {ours:,} characters, rejected {theirs:,}"))
            self.sides[0].add(seen.place, *looks[better])
            self.sides[1].add(seen.place, *looks[worse])

    @property
    def p_longer(self) -> tuple[float, float, float]:
        """P(the better answer is the longer one), an equal length counting half, and its 95 % interval."""
        if self.compared:
            hits = self.longer + self.same / 2
            return (hits / self.compared, *interval(hits, self.compared))
        wanted, unwanted = self.sides[0].lengths, self.sides[1].lengths
        below = hits = 0.0
        for length in sorted(wanted.keys() | unwanted.keys()):
            hits += wanted[length] * (below + unwanted[length] / 2)
            below += unwanted[length]
        m, n = wanted.total(), unwanted.total()
        share, half = hits / (m * n), Z * sqrt((m + n + 1) / (12 * m * n))
        return share, max(0.0, share - half), min(1.0, share + half)

    @property
    def enough(self) -> bool:
        return min(side.answers for side in self.sides) >= FEWEST

    def points(self, mark: str) -> float:
        return 100 * (self.sides[0].rate(mark) - self.sides[1].rate(mark))

    def sure(self, mark: str) -> bool:
        one, other = self.sides
        return differ(one.rate(mark), one.answers, other.rate(mark), other.answers)

    def findings(self) -> list[Finding]:
        codes = ("length_bias", "format_bias", "refusal_skew")
        if not self.enough:
            reason = f"Fewer than {FEWEST} answers on one side."
            return [unseen(code, reason) for code in codes] if self.sides[0].answers or self.sides[1].answers else []
        return [self._length(), self._format(), self._refusals()]

    def _length(self) -> Finding:
        share, low, high = self.p_longer
        sure = not low <= 0.5 <= high
        detail: dict[str, Any] = {"low": round(low, 4), "high": round(high, 4)}
        if self.compared:
            detail["median_ratio"] = round(1.02 ** middle(self.ratios), 2)
        else:
            detail["median_ratio"] = round(1.02 ** (middle(self.sides[0].lengths) - middle(self.sides[1].lengths)), 2)
        examples = self.long[share < 0.5] if CHECKS["length_bias"].severity(share) != "info" else []
        count = self.longer if self.compared else 0
        return finding(
            "length_bias",
            share,
            count=count,
            share=count / self.compared if self.compared else 0.0,
            severity=None if sure else "info",
            examples=examples,
            detail=detail,
        )

    def _format(self) -> Finding:
        points = {name: self.points(name) for name in Marks._fields}
        worst = max(Marks._fields, key=lambda name: abs(points[name]) if self.sure(name) else -1.0)
        rates = {
            name: {"chosen": round(self.sides[0].rate(name), 4), "rejected": round(self.sides[1].rate(name), 4)}
            for name in Marks._fields
        }
        return self._skew("format_bias", worst, points[worst], {"mark": worst, "rates": rates})

    def _refusals(self) -> Finding:
        rates = {"chosen": round(self.sides[0].rate("refusal"), 4), "rejected": round(self.sides[1].rate("refusal"), 4)}
        return self._skew("refusal_skew", "refusal", self.points("refusal"), rates)

    def _skew(self, code: str, mark: str, points: float, detail: dict[str, Any]) -> Finding:
        side = self.sides[points < 0]
        severity: Severity = CHECKS[code].severity(abs(points)) if self.sure(mark) else "info"
        told = "a refusal" if mark == "refusal" else f"{mark} mark-up" if mark != "emoji" else "emoji"
        name = "rejected" if points < 0 else "chosen"
        return finding(
            code,
            abs(points),
            count=side.counts[mark],
            share=side.rate(mark),
            severity=severity,
            examples=[(place, f"{told} in {name}") for place in side.places[mark]] if severity != "info" else [],
            detail={"more_in": name, **detail},
        )


class _Side:
    def __init__(self) -> None:
        self.answers = 0
        self.lengths: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[Place]] = {name: [] for name in (*Marks._fields, "refusal")}

    def add(self, place: Place, length: int, look: Marks, refused: bool) -> None:
        self.answers += 1
        self.lengths[round(log(length + 1) / STEP)] += 1
        if refused:
            self._mark("refusal", place)
        if True in look:
            for name, here in zip(Marks._fields, look, strict=True):
                if here:
                    self._mark(name, place)

    def _mark(self, name: str, place: Place) -> None:
        self.counts[name] += 1
        if len(places := self.places[name]) < EXAMPLES and place not in places:
            places.append(place)

    def rate(self, mark: str) -> float:
        return self.counts[mark] / self.answers if self.answers else 0.0


class Position:
    """Which of two places the better answer had, where `meta` says so: 0 or 1, 1 or 2, first or second, a or b."""

    def __init__(self) -> None:
        self._wins: Counter[int] = Counter()
        self._places: dict[int, list[Place]] = {}

    def see(self, seen: Seen) -> None:
        meta = seen.record.meta
        if not meta or len(seen.ranks) != 2:
            return
        for key in POSITIONS:
            if (value := meta.get(key)) is not None:
                place = value if type(value) is int else FIRST.get(str(value).lower())
                if place in (0, 1, 2):
                    self._wins[place] += 1
                    if len(places := self._places.setdefault(place, [])) < EXAMPLES:
                        places.append(seen.place)
                return

    def findings(self) -> list[Finding]:
        if not self._wins:
            return []
        first = 0 if self._wins[0] or (not self._wins[2] and not self._wins[1]) else 1
        total = self._wins.total()
        share = self._wins[first] / total
        low, high = interval(self._wins[first], total)
        place = first if share > 0.5 else first + 1
        sure = not low <= 0.5 <= high
        warned = sure and CHECKS["position_bias"].severity(share) != "info"
        return [
            finding(
                "position_bias",
                share,
                count=self._wins[first],
                share=share,
                severity=None if sure else "info",
                examples=[(each, "won from this place") for each in self._places.get(place, [])] if warned else [],
                detail={"of": total, "low": round(low, 4), "high": round(high, 4)},
            )
        ]


def middle(counts: Counter[int]) -> int:
    """The median, by nearest rank."""
    wanted, so_far = ceil(counts.total() / 2), 0
    for value in sorted(counts):
        so_far += counts[value]
        if so_far >= wanted:
            return value
    return 0
