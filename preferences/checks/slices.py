"""The biases by source, language and group, the worst slice first."""

from typing import Any

from core.contract.finding import Finding
from core.contract.findings import CHECKS, finding
from preferences.checks.bias import Bias
from preferences.checks.seen import Seen
from preferences.checks.surface import Marks

KEYS = ("source", "language", "group")
# A key of more values names records, not slices.
MOST = 50
SHOWN = 20


class Slices:
    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, tuple[Bias, list[int]]] | None] = {}

    def see(self, seen: Seen) -> None:
        for key in KEYS:
            if (value := getattr(seen.record, key)) is None:
                continue
            slices = self._by_key.setdefault(key, {})
            if slices is None:
                continue
            if value not in slices and len(slices) == MOST:
                self._by_key[key] = None
                continue
            bias, counts = slices.setdefault(value, (Bias(), [0, 0]))
            bias.see(seen)
            counts[0] += 1
            counts[1] += len(set(seen.ranks)) < len(seen.ranks)

    def findings(self) -> list[Finding]:
        if not self._by_key:
            return []
        rows = [
            _row(key, value, *each)
            for key, slices in self._by_key.items()
            for value, each in (slices or {}).items()
            if each[0].enough
        ]
        rows.sort(key=lambda row: (-row["beyond"], -row["records"]))
        bad = [row for row in rows if row["beyond"] > 1]
        left_out = [key for key, slices in self._by_key.items() if slices is None]
        detail: dict[str, Any] = {"slices": rows[:SHOWN]}
        if left_out:
            detail["too_many_values"] = left_out
        return [finding("slices", len(bad), count=sum(row["records"] for row in bad), detail=detail)]


def _row(key: str, value: str, bias: Bias, counts: list[int]) -> dict[str, Any]:
    """`beyond`: how far the worst of its measures is past its threshold, 1 being there."""
    longer = bias.p_longer[0]
    mark = max(Marks._fields, key=lambda name: abs(bias.points(name)))
    points, refusals = bias.points(mark), bias.points("refusal")
    length = CHECKS["length_bias"]
    beyond = {
        "length_bias": abs(longer - 0.5) / ((length.warn or 1.0) - 0.5) if not _chance(bias) else 0.0,
        "format_bias": abs(points) / (CHECKS["format_bias"].warn or 1.0) if bias.sure(mark) else 0.0,
        "refusal_skew": abs(refusals) / (CHECKS["refusal_skew"].warn or 1.0) if bias.sure("refusal") else 0.0,
    }
    worst = max(beyond, key=beyond.__getitem__)
    return {
        "key": key,
        "value": value[:80],
        "records": counts[0],
        "chosen_longer": round(longer, 4),
        "mark": mark,
        "mark_points": round(points, 1),
        "refusal_points": round(refusals, 1),
        "ties": round(counts[1] / counts[0], 4),
        "worst": worst,
        "beyond": round(beyond[worst], 2),
    }


def _chance(bias: Bias) -> bool:
    _, low, high = bias.p_longer
    return low <= 0.5 <= high
