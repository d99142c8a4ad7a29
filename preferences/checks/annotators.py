"""Whether those who judged agree: Krippendorff's alpha, each of them against the majority of the others."""

from array import array
from collections import Counter
from typing import Any

from core.contract.finding import Finding, Place
from core.contract.findings import EXAMPLES, finding, unseen
from preferences.checks.chance import interval
from preferences.checks.seen import Seen, digest

# Of more records the first are looked at: 12 bytes each.
MOST = 1_000_000
MOST_PEOPLE = 10_000
# Who judged fewer is not told from chance.
FEWEST = 20
TIE = 2


class Annotators:
    """A judgement is the answer that it names, in an order that has nothing to do with which was chosen: by `chosen`
    and `rejected` nearly all would be the same, and alpha would call agreement chance."""

    def __init__(self) -> None:
        self._units = array("I")
        self._judged = self._against = 0
        self._people: dict[str, list[int]] = {}
        self._examples: list[tuple[Place, str]] = []

    def see(self, seen: Seen) -> None:
        people = seen.record.annotators
        if not people or len(seen.answers) != 2 or len(self._units) >= 3 * MOST:
            return
        turned = digest(seen.answers[0]) > digest(seen.answers[1])
        votes = [TIE if each.choice == "tie" else int((each.choice == "chosen") == turned) for each in people]
        chosen = int(turned)
        count = Counter(votes)
        self._units.extend([count[0], count[1], count[TIE]])
        decided = [vote for vote in votes if vote != TIE]
        self._judged += len(decided)
        self._against += sum(vote != chosen for vote in decided)
        for each, vote in zip(people, votes, strict=True):
            rest = count - Counter([vote])
            top = rest.most_common(2)
            if top and (len(top) == 1 or top[0][1] > top[1][1]):
                self._compare(each.id, vote == top[0][0])
        if len(votes) > 1 and len(count) == len(votes) and len(self._examples) < EXAMPLES:
            self._examples.append((seen.place, "no two of those who judged agree"))

    def _compare(self, person: str, agrees: bool) -> None:
        if person in self._people or len(self._people) < MOST_PEOPLE:
            mine = self._people.setdefault(person, [0, 0])
            mine[0] += 1
            mine[1] += agrees

    def findings(self) -> list[Finding]:
        if not self._units:
            return []
        import krippendorff
        import numpy as np

        units = np.frombuffer(self._units, np.uint32).reshape(-1, 3).astype(np.int64)
        several = units.sum(axis=1) > 1
        against = round(self._against / max(1, self._judged), 4)
        detail: dict[str, Any] = {"judgements": int(units.sum()), "against_choice": against}
        if several.sum() < FEWEST:
            return [unseen("annotator_agreement", f"Fewer than {FEWEST} records were judged by more than one.", detail)]
        if (units[several].sum(axis=0) > 0).sum() < 2:
            return [unseen("annotator_agreement", "All judgements are the same.", detail)]
        alpha = float(krippendorff.alpha(value_counts=units[several], level_of_measurement="nominal"))
        odd = self._odd()
        detail |= {"of": int(several.sum()), "annotators": len(self._people), "apart": odd}
        return [
            finding(
                "annotator_agreement",
                alpha,
                count=int((several & ((units > 0).sum(axis=1) > 1)).sum()),
                share=float(((units[several] > 0).sum(axis=1) > 1).mean()),
                severity="warn" if odd else None,
                examples=self._examples,
                detail=detail,
            )
        ]

    def _odd(self) -> list[dict[str, Any]]:
        """Who agrees with the others far less than these among themselves, the furthest first."""
        whole = [sum(each[place] for each in self._people.values()) for place in (0, 1)]
        odd = []
        for person, (judged, agreed) in self._people.items():
            others = whole[0] - judged
            if judged < FEWEST or not others:
                continue
            usual = (whole[1] - agreed) / others
            if interval(agreed, judged)[1] < usual - 0.1:
                odd.append({"id": person[:80], "judged": judged, "agrees": round(agreed / judged, 4)})
        return sorted(odd, key=lambda each: float(str(each["agrees"])))[:EXAMPLES]
