"""What is told about a file: shape of `GET /files/{id}/report` and of `palate check --json`."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, PrivateAttr

from core.contract.advice import Recommended as Recommended
from core.contract.finding import Example as Example
from core.contract.finding import Finding as Finding
from core.contract.preference import Kind


class LineError(BaseModel):
    """One row that was not taken; line and column count from 1, `excerpt` is a piece of the row around the place."""

    line: int
    column: int | None = None
    path: str
    code: str
    message: str
    hint: str
    excerpt: str


class Notice(BaseModel):
    """Something that was kept, with up to 20 of its lines, and in a JSON array of its elements, from 0."""

    code: str
    message: str
    count: int
    lines: list[int] = []
    elements: list[int] = []


class Spread(BaseModel):
    """By nearest rank; in characters, or in tokens where a model was named."""

    median: int
    p95: int
    max: int


class Verdict(BaseModel):
    """`score` of 100; `gate` is the worst severity among the checks; the three actions that matter most."""

    gate: Literal["pass", "warn", "block"]
    score: int
    top_actions: list[str] = []
    recommended: Recommended = Recommended()


class SampleAnswer(BaseModel):
    """name: chosen, rejected, wanted, not wanted; of a ranking `1`, `2`, … by rank."""

    name: str
    text: str


class Sample(BaseModel):
    """A record to look at: texts shortened, and masked where they hold personal data; `codes` of findings that name
    its line, or in a JSON array its element, from 0."""

    line: int
    element: int | None = None
    prompt: str
    answers: list[SampleAnswer]
    codes: list[str] = []


class FileError(BaseModel):
    code: str
    message: str


class Counts(BaseModel):
    """`records` = `bad` (malformed) + those of which `pairs`, `unpaired` or `rankings` were made, or `ties` in a file
    of pairs; these = `useless` (left out) + `usable`. Only where columns are compared does a record make several.

    `lines` is the last line that held a record; what follows `usable` is counted over useless records too. Of every two
    answers of a ranking one is the better (`comparisons`), or they have the same rank (`ties`).
    """

    lines: int = 0
    records: int = 0
    bad: int = 0
    pairs: int = 0
    unpaired: int = 0
    rankings: int = 0
    useless: int = 0
    usable: int = 0
    identical_pairs: int = 0
    empty_chosen: int = 0
    empty_rejected: int = 0
    chosen_longer: int = 0
    same_length: int = 0
    multi_turn: int = 0
    desirable: int = 0
    undesirable: int = 0
    comparisons: int = 0
    ties: int = 0
    exact_duplicates: int = 0
    contradictions: int = 0
    distinct_prompts: int = 0


class Inspected(BaseModel):
    """What one model's tokenizer and template made of the records. `problems`: codes of those that fall out;
    `lengths` in tokens; `error`: why no job can be made of both."""

    model: str
    max_length: int
    records: int
    usable: int
    problems: dict[str, int] = {}
    lengths: dict[str, Spread] = {}
    error: FileError | None = None


class Report(BaseModel):
    """`error` is null exactly when the file may be used; only then has it a `digest`, sha256 of the canonical lines.

    `columns`: those of weight, confidence and margin that somewhere differ from what they are when left out.
    `raw_text`: the texts are trained on as they stand, without a chat template.
    `histograms`: of the lengths in characters, (upper bound, texts); `samples`: at most 20.
    """

    object: Literal["file.report"] = "file.report"
    file: str | None = None
    format: str | None = None
    raw_text: bool = False
    kind: Kind | None = None
    container: str | None = None
    digest: str | None = None
    columns: list[str] = []
    counts: Counts = Counts()
    mapping: dict[str, str] | None = None
    lengths: dict[str, Spread] = {}
    histograms: dict[str, list[tuple[int, int]]] = {}
    samples: list[Sample] = []
    checks: list[Finding] = []
    verdict: Verdict | None = None
    errors: list[LineError] = []
    errors_by_code: dict[str, int] = {}
    warnings: list[Notice] = []
    status_details: str | None = None
    inspection: Inspected | None = None
    error: FileError | None = None
    # In the process that read the file: which element each canonical record is; empty but for a JSON array.
    _elements: Sequence[int] = PrivateAttr(default=())

    def note_elements(self, elements: Sequence[int]) -> None:
        self._elements = elements

    @property
    def elements(self) -> Sequence[int]:
        return self._elements

    @property
    def usable(self) -> bool:
        return self.error is None
