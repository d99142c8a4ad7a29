"""The door of this room: a file in, a report out, and on the way the canonical records."""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from core.contract.errors import BadInput
from core.contract.preference import parse_record
from preferences.asked import Asked, as_texts, asked_for
from preferences.canonical import CanonicalWriter
from preferences.checks.advice import weigh
from preferences.checks.leakage import HeldOut, Prompts
from preferences.checks.run import Checks, Depth
from preferences.container import open_rows
from preferences.detect import detect
from preferences.draft import Row
from preferences.faults import FileFault, RowFault
from preferences.formats.known import Format, settled
from preferences.judge import Judged, judge
from preferences.limits import DEFAULT, Limits
from preferences.mapping import parse_mapping
from preferences.report import FileError, Report
from preferences.rows import RawRow
from preferences.strict_json import parse
from preferences.tally import Refused, Tally
from preferences.unpack import Progress
from preferences.verdict import details, notices, verdict

OnError = Literal["fail", "skip"]
Observe = Callable[[RawRow, RowFault | list[Judged]], None]


def check_file(
    source: BinaryIO | Path,
    *,
    format: str | None = None,
    mapping: dict[str, str | list[str]] | str | None = None,
    raw_text: bool = False,
    on_error: OnError = "fail",
    max_bad_fraction: float = 0.0,
    canonical: BinaryIO | None = None,
    checks: Depth = "all",
    validation: Path | None = None,
    limits: Limits = DEFAULT,
    progress: Progress | None = None,
    refused: Refused | None = None,
    observe: Observe | None = None,
) -> Report:
    """Reads the file once, in memory bounded by its longest line, and says all that is wrong with it.

    `mapping`: canonical field -> column or path (or its JSON), for a layout of one's own; it holds for
    `validation` too, as `format`, `raw_text`, `on_error` and `max_bad_fraction` do. `raw_text`: the texts of a
    plain_triple (or of a mapping to its columns) are trained on as they stand, without a chat template.
    `canonical` receives the zstd stream of the usable records while they are read; it is worth something only when the
    report has a digest. `checks`: how many of them are made. `validation`: a file whose prompts should not be in
    this one. `progress` is told the bytes taken from the source, `refused` each
    bad line (up to 10,000) while the rest is still to be read, `observe` what became of each row.
    Raises BadInput for a wrong argument and OSError where the source cannot be read; what is wrong with the data is in
    the report.
    """
    if on_error not in ("fail", "skip"):
        raise BadInput("`on_error` is fail or skip.", param="on_error")
    if not 0 <= max_bad_fraction <= 1:
        raise BadInput("`max_bad_fraction` is between 0 and 1.", param="max_bad_fraction")
    asked = asked_for(format, parse_mapping(mapping), raw_text)
    held_out = _held_out(validation, asked, limits, on_error, max_bad_fraction) if validation else None
    looks = Checks(checks, held_out=held_out)
    if isinstance(source, Path):
        with source.open("rb") as opened:
            check = _Check(opened, asked, limits, canonical, looks, progress, refused, observe)
            report = check.run(on_error, max_bad_fraction)
        report.file = source.name
        return report
    check = _Check(source, asked, limits, canonical, looks, progress, refused, observe)
    return check.run(on_error, max_bad_fraction)


def _held_out(validation: Path, asked: Asked, limits: Limits, on_error: OnError, max_bad_fraction: float) -> HeldOut:
    prompts = Prompts()
    with validation.open("rb") as opened:
        error = _Check(opened, asked, limits, None, prompts, None).run(on_error, max_bad_fraction).error
    if error:
        raise BadInput(f"The validation file cannot be used ({error.code}): {error.message}", param="validation")
    return prompts.held_out


class _Check:
    """One reading of one file."""

    def __init__(
        self,
        source: BinaryIO,
        asked: Asked,
        limits: Limits,
        canonical: BinaryIO | None,
        checks: Checks | Prompts,
        progress: Progress | None,
        refused: Refused | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._source = source
        self._asked = asked
        self._format: Format | None = None
        self._limits = limits
        self._progress = progress
        self._observe = observe
        self._writer = CanonicalWriter(canonical)
        self._checks = checks
        self._looks = checks.wanted
        self._tally = Tally(limits, refused)
        self._container: str | None = None
        self._written = 0
        # Of each written record, where the file is a JSON array.
        self._elements = array("I")

    def run(self, on_error: OnError, max_bad_fraction: float) -> Report:
        fault: FileError | None = None
        try:
            self._read()
        except FileFault as found:
            fault = FileError(code=found.code, message=found.message)
        digest = self._writer.close()
        tally = self._tally
        kind = self._format.kind if self._format else None
        counts = tally.counted()
        error = fault or verdict(tally, counts, kind, self._limits, max_bad_fraction if on_error == "skip" else 0.0)
        findings = [] if error else self._checks.findings()
        report = Report(
            format=self._format.name if self._format else None,
            raw_text=self._asked.raw_text,
            kind=kind,
            container=self._container,
            digest=None if error else digest,
            columns=tally.columns,
            counts=counts,
            mapping=tally.mapping(self._asked.mapping),
            lengths=tally.lengths,
            histograms=tally.histograms,
            checks=findings,
            verdict=weigh(findings, kind, tally.columns) if findings and kind else None,
            errors=tally.errors,
            errors_by_code=dict(sorted(tally.by_code.items())),
            warnings=tally.warnings() + notices(tally, counts, kind, self._limits),
            status_details=None if error else details(tally, counts, kind),
            error=error,
        )
        report.note_elements(self._elements)
        return report

    def _read(self) -> None:
        self._container, rows = open_rows(
            self._source,
            self._limits,
            self._progress,
            mapped=self._asked.mapping.columns if self._asked.mapping else {},
        )
        sample, ended = self._sample(rows)
        if not sample:
            return
        found = self._asked.format or detect((raw.line, row) for raw, row in sample)
        self._format = settled(found, [row for _, row in sample])
        if self._asked.raw_text:
            self._format = as_texts(self._format)
        for raw, row in sample:
            self._convert(raw, row, self._format, learn=True)
        self._tally.in_order()
        sample.clear()
        if ended:
            return
        for raw in rows:
            if (parsed := self._parse(raw)) is not None:
                self._convert(raw, parsed, self._format)

    def _sample(self, rows: Iterator[RawRow]) -> tuple[list[tuple[RawRow, Row]], bool]:
        """The first rows that can be parsed, and whether there are no others."""
        sample: list[tuple[RawRow, Row]] = []
        size = 0
        for raw in rows:
            if (row := self._parse(raw)) is not None:
                sample.append((raw, row))
                size += len(raw.data)
                if len(sample) >= self._limits.sample_rows or size >= self._limits.sample:
                    return sample, False
        return sample, True

    def _parse(self, raw: RawRow) -> Row | None:
        self._tally.saw(raw)
        try:
            if raw.fault:
                raise raw.fault
            if raw.too_long:
                limit = self._limits.line
                raise RowFault("line_too_long", "", f"The record has more than {limit:,} bytes.")
            row = parse(raw.data, self._limits.depth)
            if type(row) is not dict:
                raise RowFault("not_object", "", "The record is not a JSON object.")
            read: Row = row
            if self._asked.mapping:
                read = self._asked.mapping.place(read)
        except RowFault as fault:
            self._refuse(raw, fault)
            return None
        return read

    def _refuse(self, raw: RawRow, fault: RowFault) -> None:
        self._tally.refuse(raw, fault)
        if self._observe:
            self._observe(raw, fault)

    def _convert(self, raw: RawRow, row: Row, format: Format, *, learn: bool = False) -> None:
        try:
            made = format.read(row)
            drafts = made if isinstance(made, list) else [made]
            all_judged = [judge(draft, format.kind, row, raw.line, format.name) for draft in drafts]
        except RowFault as fault:
            self._refuse(raw, self._told(fault))
            return
        if self._observe:
            self._observe(raw, all_judged)
        # Stands for the row in the checks; its line does not, where an array stands on one line.
        number = self._written
        for draft, judged in zip(drafts, all_judged, strict=True):
            if learn:
                self._tally.learn(draft, format.kind, self._asked.mapping)
            if judged.useless:
                judged = judged._replace(useless=self._told(judged.useless))
            self._tally.take(raw, judged, draft)
            if judged.line:
                self._writer.add(judged.line)
                self._written += 1
                if raw.element is not None:
                    self._elements.append(raw.element)
                if self._looks:
                    self._checks.see(parse_record.validate_json(judged.line), number, raw.element)

    def _told(self, fault: RowFault) -> RowFault:
        return self._asked.mapping.fault(fault) if self._asked.mapping else fault
