"""Gates A to C by their limits; that they stop a run whose numbers lie is in tests/trajectory."""

from math import log
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from core.contract.run_spec import Lora
from tests.support.plain_engine import PlainEngine
from tests.unit.trainer.test_scorer import examples, llama
from trainer import lora
from trainer.collection import scored_tokens
from trainer.failures import GateFailed
from trainer.gate import FirstLook, right_loss, same_reference
from trainer.layouts import collate
from trainer.noise import Noise

CPU = torch.device("cpu")
NOISE = {"fp32": Noise(6e-6, 6e-6), "bf16": Noise(2.5e-2, 5e-2)}


def rounding(precision: str, count: int = 64) -> Tensor:
    """h / sqrt(tokens) as it was measured."""
    return torch.randn(count, generator=torch.Generator().manual_seed(1)) * NOISE[precision].sums


def test_the_first_loss_is_ln_2() -> None:
    assert right_loss(log(2) + 5e-6, log(2), 0.0, "fp32") == pytest.approx(5e-6, rel=1e-3)
    with pytest.raises(
        GateFailed, match=r"The first loss is 0\.693167, not 0\.693147: off by 2\.0e-05, at most 1\.0e-05"
    ):
        right_loss(log(2) + 2e-5, log(2), 0.0, "fp32")


def test_the_rounding_of_long_answers_is_no_error() -> None:
    right_loss(log(2) + 1e-4, log(2), 1.5e-4, "fp32")
    with pytest.raises(GateFailed):
        right_loss(log(2) + 1e-3, log(2), 1.5e-4, "fp32")


def test_the_limit_grows_with_the_loss_itself() -> None:
    right_loss(250_000.2, 250_000.0, 0.0, "fp32")


@pytest.mark.parametrize("precision", NOISE)
def test_rounding_of_short_answers_is_borne_and_a_shift_is_not(precision: str) -> None:
    """Of two tokens, 6e-2 a token was seen in bf16: no reason to refuse labels and short answers."""
    noise, h = NOISE[precision], rounding(precision)
    h[7] = 3.5 * noise.sums
    same_reference(h, noise, len(h))
    with pytest.raises(GateFailed, match="on average by"):
        same_reference(h + 2 * noise.sums, noise, len(h))


def test_what_answers_behind_one_prompt_share_is_no_shift() -> None:
    """The same rounding in all of them, far below the noise: its mean is many standard errors off 0."""
    same_reference(torch.full((1000,), 0.9e-6), NOISE["fp32"], 1000)


@pytest.mark.parametrize("precision", NOISE)
def test_what_the_two_answers_of_a_pair_share_counts_once(precision: str) -> None:
    """A mean of 3 standard errors by pairs; taken for twice as many numbers it would be 4.2."""
    of_pairs = rounding("fp32", 32)
    of_pairs = (of_pairs - of_pairs.mean()) / of_pairs.std(correction=0)
    h = 4 * NOISE[precision].sums * (of_pairs + 0.626).repeat_interleave(2)
    same_reference(h, NOISE[precision], 32)
    with pytest.raises(GateFailed, match="on average by"):
        same_reference(h, NOISE[precision], 64)


@pytest.mark.parametrize("precision", NOISE)
def test_other_answers_sums_are_found_in_both_precisions(precision: str) -> None:
    """As if the reference's sums stood in another order, or were another model's: off by nats, and without a shift."""
    lengths = torch.arange(1, 65).float()
    sums = -lengths * torch.rand(64, generator=torch.Generator().manual_seed(2))
    h = (sums - sums.flip(0)) / lengths.sqrt()
    with pytest.raises(GateFailed, match="stored reference") as caught:
        same_reference(h, NOISE[precision], len(h))
    assert f"= 8 x the noise of {NOISE[precision].sums:.1e}" in caught.value.message


def test_not_a_number_never_passes() -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(GateFailed):
            same_reference(torch.tensor([0.0, bad]), NOISE["bf16"], 2)
    with pytest.raises(GateFailed):
        right_loss(float("nan"), log(2), 0.0, "fp32")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_not_a_bit_between_a_row_with_and_without_its_adapter(dtype: torch.dtype) -> None:
    """(A) and (B1): a fresh adapter passes; one whose B is not 0 is found though bf16 rounds nearly all of it away."""
    model = llama().to(dtype)
    lora.inject(model, Lora(r=4), seed=1)
    engine: Any = PlainEngine(model)
    course: Any = SimpleNamespace(engine=engine, noise=NOISE["bf16"])
    given = examples()
    batch = collate(given, "shared", CPU)

    def look() -> None:
        first = FirstLook(course)
        plain = first.plain(batch)
        first.same_forward(engine.score(batch), plain, given)

    look()
    layer = [each for _, each in lora.layers(model)][1]
    layer.lora_B[lora.NAME].weight.data.fill_(2e-2)
    with pytest.raises(GateFailed, match="the adapter already changes the model, by"):
        look()
    h = (engine.score_only(batch) - engine.score_only(batch, reference=True))[:, 0] / scored_tokens(given).sqrt()
    same_reference(h, NOISE["bf16"], len(h))


def test_a_forward_that_differs_with_gradients_is_found() -> None:
    model = llama()
    engine: Any = PlainEngine(model)
    course: Any = SimpleNamespace(engine=engine, noise=NOISE["fp32"])
    first, batch = FirstLook(course), collate(examples(), "shared", CPU)
    plain = first.plain(batch)
    policy = engine.score(batch)
    first.same_forward(policy, plain, examples())
    with pytest.raises(GateFailed, match="The training forward differs from the plain one, by"):
        first.same_forward(policy + 1e-5, plain, examples())
    assert first.plain(batch).now is None, "one row of a batch is enough"
