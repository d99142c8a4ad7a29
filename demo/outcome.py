"""What one demo run found out; made by score and __main__, told by telling and page."""

from collections import Counter
from dataclasses import dataclass, field

from demo.grammar import Kind
from demo.scenario import STORYTELLER, Scenario


@dataclass(frozen=True)
class Ending:
    """`own`: it names nobody and nothing but what its opening is about."""

    opening: str
    text: str
    kind: Kind
    own: bool


@dataclass(frozen=True)
class Score:
    """One model on the held-out pairs.

    `accuracy`: the share with log pi(chosen) > log pi(rejected); `chosen`, `rejected`: the means of those log pi;
    `sampled`: one ending an opening at temperature 1; `shown`: greedy ones for the openings that are printed.
    """

    accuracy: float
    chosen: float
    rejected: float
    sampled: list[Ending]
    shown: list[Ending]

    def kinds(self) -> Counter[Kind]:
        return Counter(ending.kind for ending in self.sampled)

    def share(self, kind: Kind) -> float:
        return self.kinds()[kind] / len(self.sampled)

    def own(self) -> int:
        return sum(ending.own for ending in self.sampled)


@dataclass(frozen=True)
class StoredFile:
    path: str
    bytes: int
    sha256: str


# One column a figure, as long as `step`; None where a step has no such figure.
Columns = dict[str, list[float | None]]


@dataclass(frozen=True)
class Outcome:
    """`settings` and `timings` in the order in which they are shown; timings in seconds."""

    model: str
    job: str
    ranks: int
    training_pairs: int
    held_out_pairs: int
    before: Score
    after: Score
    metrics: Columns
    files: list[StoredFile]
    settings: dict[str, str]
    timings: dict[str, float]
    example: tuple[str, str, str] = field(default=("", "", ""))  # opening, preferred, not preferred
    scenario: Scenario = STORYTELLER


def series(metrics: Columns, name: str) -> list[tuple[float, float]]:
    """(step, value) where the step has that figure, in the order of steps."""
    steps = metrics.get("step", [])
    pairs = zip(steps, metrics.get(name, []), strict=False)
    return [(float(step), float(value)) for step, value in pairs if step is not None and value is not None]


def latest(metrics: Columns, name: str) -> float | None:
    found = series(metrics, name)
    return found[-1][1] if found else None
