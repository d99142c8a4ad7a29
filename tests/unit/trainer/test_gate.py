from math import log

import pytest
import torch

from core.contract.run_spec import Settings
from trainer.failures import GateFailed
from trainer.gate import right_loss

STILL = torch.zeros(4)


def test_the_first_loss_is_ln_2() -> None:
    assert right_loss(log(2) + 5e-6, STILL, Settings()) == pytest.approx(5e-6, rel=1e-3)
    with pytest.raises(GateFailed, match="The first loss is"):
        right_loss(log(2) + 2e-5, STILL, Settings())


def test_the_rounding_of_long_answers_is_no_error() -> None:
    rounded = torch.tensor([1e-3, -2e-3, 1.5e-3, -1.5e-3])
    right_loss(log(2) + 1e-4, rounded, Settings())
    with pytest.raises(GateFailed):
        right_loss(log(2) + 1e-3, rounded, Settings())
