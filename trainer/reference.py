"""Log-probabilities under the reference: looked up where an earlier run left them, scored once where not.

They are taken before the first step, while policy and reference are one model; only of examples that a step will use.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from core.contract.errors import BadModel
from core.contract.run_spec import RunSpec
from trainer.collection import Collection
from trainer.data import Example
from trainer.emit import Emitter
from trainer.reference_cache import Parts, answers_of, heads_of, keep, look_up
from trainer.world import World

# Sums of the examples' answers, fp32 [S, 2] on the CPU, the same bits on every rank (trainer.scoring).
Score = Callable[[Sequence[Example]], Tensor]


def no_answers() -> Tensor:
    return torch.zeros(0, 2)


@dataclass(frozen=True)
class Reference:
    """fp32 [S, 2] in the order of each part's examples and their answers; a part of no examples is [0, 2].

    Column 0 sums over all scored tokens; column 1 over the example's shared length, for `ld` only, else 0. NaN where no
    step uses the example (trainer.batches.used).
    """

    train: Tensor
    held_out: Tensor = field(default_factory=no_answers)
    mismatched: Tensor = field(default_factory=no_answers)
    held_out_mismatched: Tensor = field(default_factory=no_answers)

    def parts(self) -> dict[str, Tensor]:
        """By name; `Reference(**parts)` is the way back."""
        return {each.name: getattr(self, each.name).contiguous() for each in fields(self)}

    def digest(self) -> str:
        """sha256 of the bytes of all parts: recorded in resume points, compared when a run goes on."""
        seen = hashlib.sha256()
        for values in self.parts().values():
            seen.update(values.numpy().tobytes())
        return seen.hexdigest()


def without_reference(parts: Parts) -> Reference:
    """Zeros, for a loss that compares with none."""
    return Reference(**{name: torch.zeros(count(examples), 2) for name, examples in parts.items()})


class ReferencePass:
    """Made by every rank. From then on `cached` and `missing` are known: how many answers need no forward, and do.

    used: of a part by name, the indices of the examples whose numbers the run needs; of a part that is not there, all.
    """

    def __init__(
        self, spec: RunSpec, world: World, emitter: Emitter, whole: Parts, used: Mapping[str, Sequence[int]]
    ) -> None:
        self.spec, self.world, self.emitter = spec, world, emitter
        self.whole = {name: Collection(examples) for name, examples in whole.items()}
        self.used = {name: used.get(name, range(len(examples))) for name, examples in whole.items()}
        parts = {name: examples.pick(self.used[name]) for name, examples in self.whole.items()}
        self.parts = parts
        # A head sum serves only with the head length that it was taken over; other losses never look at it.
        self.exact = spec.settings.loss == "ld"
        self.answers = answers_of(parts, spec, world)
        # Rank 0 reads; what it finds becomes everybody's.
        found = look_up(self.answers, spec, emitter, self.exact) if world.leads else [None] * len(self.answers.digests)
        table = world.sum(torch.tensor([(*pair, 1.0) if pair else (0.0, 0.0, 0.0) for pair in found]).view(-1, 3))
        self.sums, self.known = table[:, :2].float(), table[:, 2] > 0
        self.from_cache = self.known.clone()

    @property
    def cached(self) -> int:
        return int(self.from_cache.sum())

    @property
    def missing(self) -> int:
        return int((~self.known).sum())

    def complete(self, score: Score) -> Reference:
        """Scores what is missing and nothing else; where nothing is, `score` is not called.

        Raises BadModel where the model gives no finite number.
        """
        examples, numbers = self._lacking()
        if examples:
            scored = score(examples)
            refuse_non_finite(examples, scored)
            self._take(numbers, scored)
            if self.world.leads and self.spec.reference_key:
                keep(numbers, heads_of(examples), scored, self.answers, self.spec, self.emitter)
        ends = list(accumulate((count(examples) for examples in self.parts.values()), initial=0))
        found = {}
        for name, (a, b) in zip(self.parts, pairwise(ends), strict=True):
            whole = self.whole[name]
            found[name] = torch.full((whole.sequences, 2), torch.nan)
            found[name][whole.numbers(self.used[name])] = self.sums[a:b]
        return Reference(**found)

    def again(self, score: Score) -> Reference:
        """When what was cached contradicts the model (gate B): dropped, told, and scored."""
        message = (
            f"The reference log-probabilities of {self.cached} answers, kept from an earlier run, are not those that "
            "the model gives here; they were dropped and computed again."
        )
        self.emitter.warn("reference_cache_dropped", message, answers=self.cached)
        self.known &= ~self.from_cache
        self.from_cache = torch.zeros_like(self.known)
        return self.complete(score)

    def _lacking(self) -> tuple[list[Example], list[int]]:
        """Examples of the missing answers, equal ones once, and the number of each of their answers.

        `ld` takes whole examples: the shared length is a matter of all their answers.
        """
        examples: list[Example] = []
        numbers: list[int] = []
        known, planned = self.known.tolist(), set[bytes]()
        start = 0
        for example in (example for part in self.parts.values() for example in part):
            own = range(start, start + len(example.answers))
            start = own.stop
            if self.exact:
                lacking = [] if all(known[n] for n in own) else list(own)
            else:
                lacking = [n for n in own if not known[n] and self.answers.digests[n] not in planned]
            if lacking:
                planned.update(self.answers.digests[n] for n in lacking)
                examples.append(replace(example, answers=tuple(example.answers[n - own.start] for n in lacking)))
                numbers += lacking
        return examples, numbers

    def _take(self, numbers: list[int], scored: Tensor) -> None:
        if self.exact:
            where, rows, values = numbers, list(range(len(numbers))), scored
        else:
            place = {self.answers.digests[number]: row for row, number in enumerate(numbers)}
            where = torch.nonzero(~self.known).flatten().tolist()
            rows = [place[self.answers.digests[number]] for number in where]
            values = torch.stack([scored[:, 0], torch.zeros(len(scored))], dim=1)
        self.sums[where] = values[rows]
        self.known[where] = True
        self.from_cache[where] = False


def refuse_non_finite(examples: Sequence[Example], scored: Tensor) -> None:
    lines = [example.line for example in examples for _ in example.answers]
    unfit = torch.nonzero(~scored.isfinite().all(dim=1)).flatten().tolist()
    if unfit:
        raise BadModel(
            f"The model gives no finite log-probability to an answer of line {lines[unfit[0]]}; "
            f"{len(unfit)} of {len(lines)} answers are like that.",
            code="non_finite_logps",
            param="model",
        )


def count(examples: Sequence[Example]) -> int:
    """Answers of all of them."""
    return sum(len(example.answers) for example in examples)
