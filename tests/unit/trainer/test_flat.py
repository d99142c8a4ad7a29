"""Gradients that lie behind one another are one tensor already (trainer.engine.flat)."""

import pytest
import torch
from torch import Tensor

from trainer.engine import flat


def views(buffer: Tensor, *sizes: int, start: int = 0) -> list[Tensor]:
    return list(torch.split(buffer[start : start + sum(sizes)], sizes))


def test_neighbours_are_not_copied() -> None:
    buffer = torch.arange(12.0)
    found = flat(views(buffer, 3, 4, 1, start=2))
    assert torch.equal(found, buffer[2:10])
    assert found.data_ptr() == buffer[2:].data_ptr()
    found.mul_(2)
    assert buffer.tolist() == [0, 1, 4, 6, 8, 10, 12, 14, 16, 18, 10, 11]


@pytest.mark.parametrize(
    "tensors",
    [
        views(torch.arange(12.0), 3, 4)[::-1],
        [torch.arange(12.0)[:3], torch.arange(12.0)[3:7]],
        [(buffer := torch.arange(12.0))[:3], buffer[4:7]],
        [torch.arange(12.0)[::2], torch.arange(2.0)],
        [torch.arange(6.0).view(2, 3).t(), torch.arange(2.0)],
    ],
    ids=["turned round", "two buffers", "a gap", "with steps", "transposed"],
)
def test_others_are(tensors: list[Tensor]) -> None:
    found = flat(tensors)
    assert found.tolist() == [number for each in tensors for number in each.flatten().tolist()]
    assert found.data_ptr() not in {each.data_ptr() for each in tensors}
