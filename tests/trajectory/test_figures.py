"""A run whose rate is far too high: loss, margin and accuracy still say the same, of means a token as of sums."""

from math import log
from pathlib import Path

import pytest

from core.contract.run_spec import RunSpec
from tests.launch import Run, alone

pytestmark = pytest.mark.xdist_group("ranks")


def test_a_loss_of_nothing_is_a_margin_and_an_accuracy_of_all(spec: RunSpec, tmp_path: Path) -> None:
    """The second step, after one at a learning rate of 1, of `sigmoid_norm`: pairs are won or lost by far."""
    own = {"loss": "sigmoid_norm", "beta": 5.0, "learning_rate": 1.0, "max_steps": 2, "warmup_ratio": 0.0}
    settings = spec.settings.model_copy(update={**own, "label_smoothing": 0.0, "nll_weight": 0.0})
    with alone():
        run = Run(spec.model_copy(update={"workspace": tmp_path, "settings": settings, "world_size": 1}))
        assert run.code() == 0, run.logs()
    first, second = (event["metrics"] for event in run.events("step"))
    assert first["loss"] == pytest.approx(log(2), abs=1e-5)
    assert abs(second["rewards/margins"]) > 0.1, "it moved"
    # The loss of a pair is at least -margin, and at least ln 2 where it is lost.
    assert second["loss"] >= -second["rewards/margins"]
    assert second["loss"] >= (1 - second["rewards/accuracies"]) * log(2) - 1e-3
    for event in run.events("eval"):
        found = event["metrics"]
        assert found["eval/loss"] >= -found["eval/rewards/margins"]
        lost = 1 - found.get("eval/rewards/accuracies", 1.0)
        assert found["eval/loss"] >= lost * log(2) - 1e-3
