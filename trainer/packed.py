"""What a rank made of its share of the records, as bytes for the others: token ids as one tensor, the rest as JSON."""

import json
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from core.contract.run_spec import RowProblem
from trainer.data import Example, Tokenised
from trainer.render import Answer

# Ids that are Python's at once.
PORTION = 1 << 20


def pack(found: Tokenised) -> bytes:
    """What `trainer.data.together` puts together: examples, records that fell out, variables of the template, ties."""
    answers = [answer for each in (*found.examples, *found.mismatched) for answer in each.answers]
    told = {
        "examples": [about(each) for each in found.examples],
        "mismatched": [about(each) for each in found.mismatched],
        "fallen": [(number, problem.model_dump()) for number, problem in found.fallen.items()],
        "kwargs": sorted(found.kwargs),
        "ties": found.ties,
    }
    ids = torch.tensor([token for answer in answers for token in answer.ids], dtype=torch.int32)
    return save({"ids": ids, "told": torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)})


def about(example: Example) -> dict[str, Any]:
    """All but the ids, of which it has the number."""
    answers = [(len(answer.ids), answer.spans) for answer in example.answers]
    return {**{name: getattr(example, name) for name in example.__dataclass_fields__}, "answers": answers}


def unpack(packed: bytes) -> Tokenised:
    found = load(packed)
    told, ids = json.loads(found["told"].numpy().tobytes()), shared(found["ids"])
    result = Tokenised()
    result.examples = [example(each, ids) for each in told["examples"]]
    result.mismatched = [example(each, ids) for each in told["mismatched"]]
    result.fallen = {number: RowProblem(**problem) for number, problem in told["fallen"]}
    result.kwargs = set(told["kwargs"])
    result.ties = told["ties"]
    return result


def shared(ids: Tensor) -> Iterator[int]:
    """One object for each id that occurs, not one for each place: a fifth of the memory."""
    known: dict[int, int] = {}
    for portion in torch.split(ids, PORTION):
        for token in portion.tolist():
            yield known.setdefault(token, token)


def example(told: dict[str, Any], ids: Iterator[int]) -> Example:
    answers = tuple(
        Answer(tuple(next(ids) for _ in range(length)), tuple((start, end) for start, end in spans))
        for length, spans in told["answers"]
    )
    return Example(**{**told, "answers": answers})
