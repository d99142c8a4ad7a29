"""Counts, errors and warnings while rows stream by."""

import re
from collections import Counter
from collections.abc import Callable

from core.contract.preference import Kind
from preferences.answers import spoken
from preferences.columns import COLUMNS, matters
from preferences.draft import Draft, unknown
from preferences.faults import HINTS, USELESS, RowFault
from preferences.judge import Judged
from preferences.lengths import Lengths
from preferences.limits import Limits
from preferences.mapping import Mapping
from preferences.repeats import Repeats
from preferences.report import Counts, LineError, Notice, Spread
from preferences.rows import RawRow

_WARNED = {
    "system_in_middle": "A system or developer message stands after the first turn of the prompt.",
    "prompt_repeated_in_completion": "The answers begin with the prompt's text; the model would learn to repeat it.",
    "tie_dropped": "Some answers are equally good; they are not compared with each other unless a job asks for it.",
    "refusal_chosen": "The chosen answer declines to answer, and the rejected one does not; "
    "the model would learn to refuse.",
    "extra_fields": "Fields that training does not use were kept in `meta`",
}


_NAMES: dict[Kind, tuple[str, ...]] = {
    "pair": ("prompt", "chosen", "rejected"),
    "unpaired": ("prompt", "completion"),
}
Refused = Callable[[LineError], None]
_NUMBER = re.compile(r"\[[0-9]+\]")


class Tally:
    """`refused` is told of each line the moment that it is refused, in the order of reading.

    `ties`: usable records of a file of pairs in which neither answer is better; of all others `weighty` have a weight
    above 0.
    """

    def __init__(self, limits: Limits, refused: Refused | None = None) -> None:
        self._refused = refused
        self.errors: list[LineError] = []
        self.by_code: Counter[str] = Counter()
        self.weighty = 0
        self.ties = 0
        self._figures = dict.fromkeys(Counts.model_fields, 0)
        self._columns: set[str] = set()
        self._limits = limits
        self._warned: dict[str, Notice] = {}
        self._extra: dict[str, None] = {}
        self._repeats = Repeats()
        self._lengths = Lengths()
        self._beside: dict[str, None] = {}
        self._fields: dict[str, dict[str, None]] = {}

    def counted(self) -> Counts:
        """Sorts the digests of all records: once, at the end."""
        return Counts(**self._figures | self._repeats.counts()._asdict())

    @property
    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        return self._lengths.histograms()

    @property
    def lengths(self) -> dict[str, Spread]:
        return self._lengths.spreads()

    @property
    def columns(self) -> list[str]:
        return [name for name in COLUMNS if name in self._columns]

    def saw(self, raw: RawRow) -> None:
        self._figures["records"] += 1
        self._figures["lines"] = raw.line

    def refuse(self, raw: RawRow, fault: RowFault) -> None:
        self.by_code[fault.code] += 1
        if fault.code not in USELESS:
            self._figures["bad"] += 1
        if len(self.errors) < self._limits.errors:
            self.errors.append(_line_error(raw, fault, self._limits.excerpt))
            if self._refused:
                self._refused(self.errors[-1])

    def in_order(self) -> None:
        """By line: of the rows that the format is detected from, those that are no JSON were refused first."""
        self.errors.sort(key=lambda error: error.line)

    def take(self, raw: RawRow, judged: Judged, draft: Draft) -> None:
        figures = self._figures
        self._count(draft, judged)
        for name, number in judged.figures.items():
            figures[name] += number
        if judged.useless:
            figures["useless"] += 1
            self.refuse(raw, judged.useless)
            return
        figures["usable"] += 1
        self.ties += draft.tie
        self.weighty += judged.columns.get("weight", 1.0) > 0 and not draft.tie
        self._columns.update(name for name, value in judged.columns.items() if matters(name, value))
        if judged.columns or judged.beside:
            self._beside.update(dict.fromkeys((*judged.columns, *judged.beside)))
        for code in judged.warnings:
            self._warn(code, raw)
            if code == "extra_fields" and len(self._extra) < 20:
                self._extra.update(dict.fromkeys(key[:60] for key in unknown(draft.extra)))

    def _count(self, draft: Draft, judged: Judged) -> None:
        """What is counted over all records: repeats and lengths, but for ties."""
        if draft.tie:
            return
        self._repeats.add(judged.seen)
        if draft.ranks:
            return
        add, lengths = self._lengths.add, judged.lengths
        add("prompt", spoken(draft.prompt) if draft.characters is None else draft.characters)
        if len(lengths) == 1:
            add("desirable" if draft.label else "undesirable", lengths[0])
        else:
            add("chosen", lengths[0])
            add("rejected", lengths[1])

    def learn(self, draft: Draft, kind: Kind, mapping: Mapping | None) -> None:
        """Where this record's fields came from."""
        told = zip(_NAMES[kind], draft.paths, strict=False) if kind != "ranking" else _ranking_paths(draft)
        beside = {"label": draft.label_path, "margin": draft.margin_path, "ranks": draft.ranks_path}
        for name, path in (*told, *beside.items()):
            if path:
                place = mapping.path(path) if mapping else path
                self._fields.setdefault(name, {})[_NUMBER.sub("[]", place)] = None

    def mapping(self, mapping: Mapping | None) -> dict[str, str] | None:
        """Canonical field -> column or path; several where it differs from record to record."""
        if not self._fields:
            return None
        found = {name: " or ".join(sorted(places)) for name, places in self._fields.items()}
        theirs = mapping.told() if mapping else {}
        found |= {name: theirs.get(name, name) for name in self._beside if name not in found}
        return found | {name: path for name, path in theirs.items() if name not in found}

    def _warn(self, code: str, raw: RawRow) -> None:
        warning = self._warned.setdefault(code, Notice(code=code, message=_WARNED[code], count=0, lines=[]))
        warning.count += 1
        if len(warning.lines) < self._limits.example_lines:
            warning.lines.append(raw.line)
            if raw.element is not None:
                warning.elements.append(raw.element)

    def warnings(self) -> list[Notice]:
        """Those of rows."""
        if extra := self._warned.get("extra_fields"):
            extra.message = f"{_WARNED['extra_fields']}: {', '.join(list(self._extra)[:20])}."
        return list(self._warned.values())


def _ranking_paths(draft: Draft) -> list[tuple[str, str]]:
    return [("prompt", draft.paths[0]), *(("answers", path) for path in draft.paths[1:])]


def _line_error(raw: RawRow, fault: RowFault, width: int) -> LineError:
    line, column, start = raw.line, None, 0
    if fault.offset is not None:
        before = raw.data.decode(errors="replace")[: fault.offset]
        line += before.count("\n")
        column = len(before) - before.rfind("\n") if "\n" in before else raw.column + len(before)
        start = max(0, fault.offset - width // 2)
    path = fault.path if raw.element is None else f"[{raw.element}]" + (f".{fault.path}" if fault.path else "")
    return LineError(
        line=line,
        column=column,
        path=path[:200],
        code=fault.code,
        message=printable(fault.message),
        hint=HINTS[fault.code],
        excerpt=_excerpt(raw.data, start, width),
    )


def _excerpt(data: bytes, start: int, width: int) -> str:
    # Four bytes are the most that a character takes, so this much holds the piece without decoding a whole long row.
    text = data[: (start + width) * 4].decode(errors="replace")
    return printable(text[start : start + width].strip())


def printable(text: str) -> str:
    """Without control characters: a terminal must not obey what a file says."""
    return "".join(character if character.isprintable() else " " for character in text)
