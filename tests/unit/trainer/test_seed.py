"""What a run settles before anything else."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer import probe, seed


def test_sums_of_bf16_products_stay_fp32_until_they_are_whole() -> None:
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
    seed.settle(3)
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction is False


def test_what_is_drawn_anew_is_of_the_seed_the_step_and_the_rank() -> None:
    drawn = {}
    for where in ((1, 2, 0), (1, 2, 1), (1, 3, 0), (2, 2, 0)):
        seed.anew(*where)
        first = torch.rand(4).tolist()
        seed.anew(*where)
        assert torch.rand(4).tolist() == first
        drawn[where] = tuple(first)
    assert len(set(drawn.values())) == len(drawn)


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As far as these settings can tell."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    yield
    torch.use_deterministic_algorithms(False)


def test_new_tensors_are_not_filled_where_algorithms_are_deterministic(
    on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host memory of a whole state would be filled with NaN before it is written."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    seed.settle(3)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory is False


class Tried:
    """A layout that needs an operation which has a deterministic kernel, or has none."""

    def __init__(self, raises: bool) -> None:
        self.engine = SimpleNamespace(forget=lambda: None)
        self.raises = raises
        self.lax: list[bool] = []

    def errors(self, layout: str) -> list[float]:
        self.lax.append(seed.is_lax())
        if self.raises and not seed.is_lax():
            raise RuntimeError(f"cumsum_cuda_kernel {seed.NOT_DETERMINISTIC}, but you set")
        return [0.0, 0.0]


@pytest.mark.parametrize(("raises", "lax"), [(False, [False]), (True, [False, True])])
def test_padded_rows_are_summed_in_one_order_where_that_can_be(on_a_gpu: None, raises: bool, lax: list[bool]) -> None:
    """Else the run goes on, and says so."""
    seed.settle(3)
    assert seed.is_lax(), "other layouts: what has no deterministic kernel is warned of"
    seed.strict(True)
    tried: Any = Tried(raises)
    assert probe.once_more(tried, "padded") == [0.0, 0.0]
    assert tried.lax == lax
    assert seed.is_lax() == raises


def test_another_error_of_the_model_is_not_tried_again(on_a_gpu: None) -> None:
    def broken(layout: str) -> list[float]:
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        probe.once_more(SimpleNamespace(errors=broken), "padded")  # type: ignore[arg-type]
