"""How examples become one forward's tensors: padded, packed, or packed with each prompt once.

The last token of an answer is only ever a target: it is scored, not fed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainer.data import Example
from trainer.render import Answer

Layout = Literal["shared", "packed", "padded"]


@dataclass(frozen=True)
class Documents:
    """Which token of a row [1, T] may see which (trainer.attention.visible), by three vectors [T].

    A document is a tree: a trunk (branch 0) and branches 1, 2, …, each of which sees the trunk and itself. `trees`: of
    each document, in order, the tokens of its trunk and of its branches.
    """

    trees: tuple[tuple[int, ...], ...]
    document: Tensor
    branch: Tensor
    position: Tensor


def plant(trees: Sequence[tuple[int, ...]], device: torch.device) -> Documents:
    """The positions of all branches start at the end of the trunk."""
    parts = [
        (number, branch, range(trunk if branch else 0, (trunk if branch else 0) + length))
        for number, (trunk, *branches) in enumerate(trees)
        for branch, length in enumerate((trunk, *branches))
    ]
    document = [number for number, _, span in parts for _ in span]
    branch = [branch for _, branch, span in parts for _ in span]
    position = [place for _, _, span in parts for place in span]
    vectors = (torch.tensor(values, device=device) for values in (document, branch, position))
    return Documents(tuple(trees), *vectors)


@dataclass(frozen=True)
class Batch:
    """The S answers of some examples, in order, and their M scored tokens, in order.

    ids [B, T]; positions [B, T] where documents share a row; attention [B, T], 1 for a token, where rows are padded.
    predictor [M]: flat index into [B, T] of the token whose hidden state predicts the scored one; targets [M]: its id;
    sequence [M]: its answer; place [S, longest]: the indices into M of each answer's tokens, M where it has no more;
    head [M]: whether it is one of the first n of its answer, n = least number of scored tokens in its example.
    tokens: fed in earnest, without padding.
    """

    ids: Tensor
    positions: Tensor | None
    attention: Tensor | None
    documents: Documents | None
    predictor: Tensor
    targets: Tensor
    sequence: Tensor
    place: Tensor
    head: Tensor
    sequences: int
    tokens: int


def fed(example: Example, layout: Layout) -> int:
    """Tokens that one example adds to a row. Padding, which depends on its neighbours, is not counted."""
    last = len(example.answers)
    return example.tokens - last - (example.prefix * (last - 1) if layout == "shared" else 0)


def collate(examples: Sequence[Example], layout: Layout, device: torch.device) -> Batch:
    if layout == "padded":
        return padded(examples, device)
    ids: list[int] = []
    predictors: list[int] = []
    trees: list[tuple[int, ...]] = []
    for example in examples:
        if layout == "packed":
            for answer in example.answers:
                predictors += [len(ids) + t - 1 for t in scored(answer)]
                trees.append((len(answer.ids) - 1,))
                ids += answer.ids[:-1]
            continue
        trunk, start = example.prefix, len(ids)
        trees.append((trunk, *(len(answer.ids) - 1 - trunk for answer in example.answers)))
        ids += example.answers[0].ids[:trunk]
        for answer in example.answers:
            # The first token of a branch is predicted by the end of the trunk.
            predictors += [(start if t <= trunk else len(ids) - trunk) + t - 1 for t in scored(answer)]
            ids += answer.ids[trunk:-1]
    documents = plant(trees, device)
    return make(examples, torch.tensor([ids]), documents.position[None], None, documents, predictors, device)


def padded(examples: Sequence[Example], device: torch.device) -> Batch:
    """On the right, to [S, T]. Masked by position, never by id: id 0 may be a real token."""
    answers = [answer for example in examples for answer in example.answers]
    longest = max(len(answer.ids) for answer in answers) - 1
    ids = torch.zeros(len(answers), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for row, answer in enumerate(answers):
        ids[row, : len(answer.ids) - 1] = torch.tensor(answer.ids[:-1])
        attention[row, : len(answer.ids) - 1] = 1
    predictors = [row * longest + t - 1 for row, answer in enumerate(answers) for t in scored(answer)]
    return make(examples, ids, None, attention, None, predictors, device)


def make(
    examples: Sequence[Example],
    ids: Tensor,
    positions: Tensor | None,
    attention: Tensor | None,
    documents: Documents | None,
    predictors: list[int],
    device: torch.device,
) -> Batch:
    answers = [answer for example in examples for answer in example.answers]
    targets = [answer.ids[t] for answer in answers for t in scored(answer)]
    counts = torch.tensor([count(answer) for answer in answers])
    least = [n for e in examples for n in [min(count(a) for a in e.answers)] * len(e.answers)]
    number = torch.arange(int(counts.max()))
    there = number < counts[:, None]
    place = torch.full(there.shape, len(targets))
    place[there] = torch.arange(len(targets))
    head = (number < torch.tensor(least)[:, None])[there]
    return Batch(
        ids=ids.to(device),
        positions=positions,
        attention=None if attention is None else attention.to(device),
        documents=documents,
        predictor=torch.tensor(predictors).to(device),
        targets=torch.tensor(targets).to(device),
        sequence=torch.repeat_interleave(torch.arange(len(answers)), counts).to(device),
        place=place.to(device),
        head=head.to(device),
        sequences=len(answers),
        tokens=ids.numel() if attention is None else int(attention.sum()),
    )


def scored(answer: Answer) -> list[int]:
    return [t for start, end in answer.spans for t in range(start, end)]


def count(answer: Answer) -> int:
    """Scored tokens."""
    return sum(end - start for start, end in answer.spans)
