"""Tokenised examples as a run uses them: each answer has its place in the flat sums of policy and reference."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from trainer.data import Example
from trainer.losses import Scores


class Collection:
    """`sequences`: answers of all examples; those of example i are numbered offsets[i] .. offsets[i + 1]."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.offsets = [0, *accumulate(len(example.answers) for example in examples)]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def sequences(self) -> int:
        return self.offsets[-1]

    def pick(self, indices: Sequence[int]) -> list[Example]:
        return [self.examples[i] for i in indices]

    def numbers(self, indices: Sequence[int]) -> list[int]:
        """The sequences of these examples, in order."""
        return [number for i in indices for number in range(self.offsets[i], self.offsets[i + 1])]


def scored_tokens(examples: Sequence[Example]) -> Tensor:
    """[S] fp32: how many tokens of each answer count."""
    counts = [sum(end - start for start, end in answer.spans) for example in examples for answer in example.answers]
    return torch.tensor(counts, dtype=torch.float32)


def scores(
    examples: Sequence[Example], policy: Tensor, reference: Tensor | None = None, kl: Tensor | None = None
) -> Scores:
    """From flat sums [S, 2] (trainer.scorer) to what a loss looks at: [n, K] of n examples with at most K answers."""
    counts = [len(example.answers) for example in examples]
    widest = max(counts)
    device = policy.device
    there = torch.tensor([[k < count for k in range(widest)] for count in counts], device=device)
    flat = [policy[:, 0], policy[:, 1], scored_tokens(examples).to(device, policy.dtype)]
    if reference is None:
        reference = torch.zeros_like(policy)
    flat += [reference[:, 0], reference[:, 1]]
    if min(counts) == widest:
        dense = [values.view(-1, widest) for values in flat]
    else:
        dense = [torch.zeros_like(there, dtype=policy.dtype).masked_scatter(there, values) for values in flat]
        dense[2] = dense[2].masked_fill(~there, 1.0)

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=policy.dtype, device=device)

    return Scores(
        policy=dense[0],
        reference=dense[3],
        lengths=dense[2],
        heads=dense[1],
        reference_heads=dense[4],
        there=there,
        weight=column([example.weight for example in examples]),
        confidence=column([example.confidence for example in examples]),
        margin=column([example.margin for example in examples]),
        label=torch.tensor([example.label for example in examples], device=device),
        kl=torch.zeros((), dtype=policy.dtype, device=device) if kl is None else kl.to(device, policy.dtype),
    )
