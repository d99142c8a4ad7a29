from math import log

import pytest

from core.contract.run_spec import Settings
from trainer.failures import GateFailed
from trainer.gate import right_loss

SETTINGS = Settings()


def test_the_first_loss_is_ln_2() -> None:
    assert right_loss(log(2) + 5e-6, SETTINGS) == pytest.approx(5e-6, rel=1e-3)
    with pytest.raises(GateFailed, match="The first loss is"):
        right_loss(log(2) + 2e-5, SETTINGS)


def test_the_rounding_of_long_answers_is_no_error() -> None:
    """1,500 tokens at 1e-6 a token, which the check of h allows ten times over."""
    right_loss(log(2) + 1e-4, SETTINGS, rounding=1.5e-3)
    with pytest.raises(GateFailed):
        right_loss(log(2) + 1e-3, SETTINGS, rounding=1.5e-3)
