"""The node's calibration: what two widths tell apart, and that every pass is measured."""

from collections.abc import Iterator

import pytest
import torch

from planning.node import Calibration, Work
from planning.time import pass_seconds
from trainer import calibrate


def test_two_widths_tell_products_from_what_passes_by() -> None:
    """3 ns a weight and 50 ns a unit of width; weights are 12 x width squared."""
    times = [3e-9 * 12 * width**2 + 5e-8 * width for width in (256, 768)]
    weight, unit = calibrate.split(*times, 256, 768, 12 * 256)
    assert (weight, unit) == pytest.approx((3e-9, 5e-8))
    columns = [2e-10 * width + 1e-8 for width in (256, 768)]
    assert calibrate.split(*columns, 256, 768, None) == pytest.approx((2e-10, 1e-8))


def test_no_part_costs_less_than_nothing() -> None:
    """A wide layer that is slower than its size says is all product; a wide head that is quicker has no slope."""
    weight, unit = calibrate.split(2e-9 * 12 * 256**2, 3e-9 * 12 * 768**2, 256, 768, 12 * 256)
    assert (weight, unit) == pytest.approx((3e-9, 0.0))
    assert calibrate.split(2e-8, 1e-8, 256, 768, None) == pytest.approx((0.0, 2e-8))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a rank has it: several that wait for each other on a busy machine use time of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_every_pass_costs_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small one: a pass with gradients costs more than one without."""
    monkeypatch.setitem(calibrate.SIZES, "cpu", ((128, 256), 192, 64, 4_096, 2**18))
    found = calibrate.calibrate(torch.device("cpu"))
    assert Calibration.model_validate_json(found.model_dump_json()) == found
    some = Work(tokens=500, scored=200, squares=0, rows=1, body=1e6, layers=2, hidden=256, vocab=4_096, trained=0)
    for precision in ("fp32", "bf16"):
        seconds = {kind: pass_seconds(some, found.costs[precision][kind], "cpu") for kind in calibrate.PASSES}
        assert 0 < seconds["forward"] < min(seconds["full"], seconds["lora"]), precision
    assert found.update > 0
