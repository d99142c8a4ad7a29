"""What earlier runs left of a reference, and what this one leaves for later runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.contract import manifest
from core.contract.run_spec import RunSpec
from core.contract.trainer_events import ReferenceSealed
from core.disk import flush_all
from trainer import reference_file, seal
from trainer.data import Example
from trainer.emit import Emitter
from trainer.reference_file import Entries, UnusableEntry
from trainer.world import World

Parts = Mapping[str, Sequence[Example]]
Found = tuple[float, float]


@dataclass(frozen=True)
class Answers:
    """All answers of a run in one row: parts in order, in them examples, in them answers.

    digests[i] names answer i; heads[i] is its example's shared length; data[i] the digest of the records it came from.
    """

    digests: list[bytes]
    heads: list[int]
    data: list[str]


def answers_of(parts: Parts, spec: RunSpec, world: World) -> Answers:
    """Each rank hashes its share."""
    examples = [example for part in parts.values() for example in part]
    answers = [answer for example in examples for answer in example.answers]
    mine = b"".join(reference_file.digest(answer) for answer in answers[world.rank :: world.size])
    shares = world.gather_bytes(mine)
    size = reference_file.DIGEST_BYTES
    places = ((number % world.size, number // world.size * size) for number in range(len(answers)))
    return Answers(
        digests=[shares[rank][start : start + size] for rank, start in places],
        heads=heads_of(examples),
        data=[digest_of(name, spec) for name, part in parts.items() for example in part for _ in example.answers],
    )


def heads_of(examples: Sequence[Example]) -> list[int]:
    """For each answer the scored tokens of its example's shortest one: what `ld` compares in full."""
    return [
        min(sum(end - start for start, end in answer.spans) for answer in example.answers)
        for example in examples
        for _ in example.answers
    ]


def digest_of(part: str, spec: RunSpec) -> str:
    return (spec.eval_digest if part.startswith("held_out") else None) or spec.train_digest


def look_up(answers: Answers, spec: RunSpec, emitter: Emitter, exact: bool) -> list[Found | None]:
    """For each answer its sum and head sum, from the first file that has them.

    exact: only numbers whose head length is this run's; otherwise the head sum is given as 0.
    """
    found: list[Found | None] = [None] * len(answers.digests)
    wanted: dict[bytes, list[int]] = {}
    for number, name in enumerate(answers.digests):
        wanted.setdefault(name, []).append(number)
    for path in spec.reference_entries:
        for name, head, total, head_total in read(path, spec.reference_key, emitter):
            for number in wanted.get(name, ()):
                if found[number] is None and (not exact or head == answers.heads[number]):
                    found[number] = (total, head_total if exact else 0.0)
    return found


def read(path: Path, key: str, emitter: Emitter) -> list[tuple[bytes, int, float, float]]:
    """Nothing, and a warning, where the file is of no use: a cache never fails a run."""
    try:
        return list(reference_file.read(path, key).each())
    except UnusableEntry as error:
        message = f"A file of kept reference log-probabilities is passed over: {error}. They are computed again."
        emitter.warn(error.code, message, file=path.name)
        return []


def keep(
    numbers: list[int], heads: list[int], scored: Tensor, answers: Answers, spec: RunSpec, emitter: Emitter
) -> None:
    """Seals `scored` [S, 2] of the answers of these numbers: one folder for each file of records, to go with it."""
    rows: dict[str, list[int]] = {}
    for row, number in enumerate(numbers):
        rows.setdefault(answers.data[number], []).append(row)
    folder = spec.workspace / "reference" / "new"
    for data_digest, own in rows.items():
        names = b"".join(answers.digests[numbers[row]] for row in own)
        entries = Entries(
            digests=torch.frombuffer(bytearray(names), dtype=torch.uint8).view(-1, reference_file.DIGEST_BYTES),
            heads=torch.tensor([heads[row] for row in own], dtype=torch.int32),
            sums=scored[own, 0],
            head_sums=scored[own, 1],
        )
        try:
            number = len(list(folder.iterdir())) + 1 if folder.exists() else 1
            sealed = write(folder / str(number), spec.reference_key, entries)
        except OSError as error:
            emitter.warn("reference_not_kept", f"Reference log-probabilities could not be kept for later runs: {error}")
            return
        path = sealed.relative_to(spec.workspace).as_posix()
        emitter.say(ReferenceSealed, path=path, key=spec.reference_key, data_digest=data_digest, sequences=len(own))


def write(folder: Path, key: str, entries: Entries) -> Path:
    partial = seal.open_folder(folder)
    reference_file.write(partial, key, entries)
    flush_all(partial)
    return seal.close_folder(partial, manifest.build(partial, key=key))
