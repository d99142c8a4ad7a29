"""Every `auto` becomes a number."""

import pytest

from core.contract.job_spec import DpoHyperparameters
from planning.resolve import auto_batch, micro_batch, resolve, total_steps


@pytest.mark.parametrize(("pairs", "epochs", "batch"), [(10, 1, 1), (200, 1, 10), (200, 3, 30), (100_000, 1, 64)])
def test_the_batch_gives_about_twenty_steps(pairs: int, epochs: int, batch: int) -> None:
    assert auto_batch(pairs, epochs) == batch


def test_defaults_are_the_safe_ones() -> None:
    settings = resolve(DpoHyperparameters(), pairs=400, max_length=512)
    assert (settings.beta, settings.learning_rate, settings.n_epochs) == (0.1, 1e-6, 1)
    assert (settings.batch_size, settings.max_length, settings.warmup_ratio) == (20, 512, 0.1)


def test_the_multiplier_scales_the_base_rate_and_a_rate_of_its_own_wins() -> None:
    assert resolve(DpoHyperparameters(learning_rate_multiplier=3.0), pairs=40, max_length=8).learning_rate == 3e-6
    both = DpoHyperparameters(learning_rate_multiplier=3.0, learning_rate=1e-4)
    assert resolve(both, pairs=40, max_length=8).learning_rate == 1e-4


def test_micro_batches_stay_within_a_rank_s_share_and_the_token_bound() -> None:
    assert micro_batch(16, 2, 128) == 8
    assert micro_batch(3, 2, 128) == 2
    assert micro_batch(64, 1, 2048) == 2
    assert micro_batch(64, 1, 100_000) == 1


@pytest.mark.parametrize(("max_steps", "steps"), [("auto", 12), (5, 5), (100, 12)])
def test_the_last_batch_of_an_epoch_is_a_step_and_max_steps_only_shortens(max_steps: int | str, steps: int) -> None:
    asked = DpoHyperparameters.model_validate({"batch_size": 8, "n_epochs": 3, "max_steps": max_steps})
    assert total_steps(resolve(asked, pairs=26, max_length=64), 26) == steps
