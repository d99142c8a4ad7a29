"""Gates B and C by their limits; that they stop a run whose numbers lie is in tests/trajectory."""

from math import log

import pytest
import torch

from trainer.failures import GateFailed
from trainer.gate import LIMITS, right_loss, same_reference

FP32, BF16 = LIMITS["fp32"], LIMITS["bf16"]


def test_the_first_loss_is_ln_2() -> None:
    assert right_loss(log(2) + 5e-6, log(2), 0.0, FP32) == pytest.approx(5e-6, rel=1e-3)
    with pytest.raises(GateFailed, match="The first loss is"):
        right_loss(log(2) + 2e-5, log(2), 0.0, FP32)


def test_the_rounding_of_long_answers_is_no_error() -> None:
    right_loss(log(2) + 1e-4, log(2), 1.5e-4, FP32)
    with pytest.raises(GateFailed):
        right_loss(log(2) + 1e-3, log(2), 1.5e-4, FP32)


def test_the_limit_grows_with_the_loss_itself() -> None:
    right_loss(250_000.2, 250_000.0, 0.0, FP32)


def test_one_answer_that_moved_is_enough() -> None:
    h = torch.zeros(1000)
    assert same_reference(h, FP32) == 0
    h[7] = 2e-5
    with pytest.raises(GateFailed, match=r"2\.0e-05 a token"):
        same_reference(h, FP32)


def test_an_error_that_hits_both_answers_does_not_cancel() -> None:
    with pytest.raises(GateFailed):
        same_reference(torch.full((64,), 1e-4), FP32)


def test_bf16_bears_noise_but_no_shift() -> None:
    noise = torch.tensor([1.5e-2, *[1e-3] * 99])
    same_reference(noise, BF16)
    with pytest.raises(GateFailed):
        same_reference(torch.full((100,), 5e-3), BF16)


def test_not_a_number_never_passes() -> None:
    with pytest.raises(GateFailed):
        same_reference(torch.tensor([0.0, float("nan")]), FP32)
    with pytest.raises(GateFailed):
        right_loss(float("nan"), log(2), 0.0, FP32)
