"""Every `auto` becomes a number."""

import pytest

from core.contract.job_spec import DpoHyperparameters, JobSpec
from core.contract.losses import LOSSES, LossName
from core.contract.run_spec import Lora
from planning.resolve import Device, auto_batch, exports, halved, held_out_share, resolve, total_steps, trained_on


@pytest.mark.parametrize(("pairs", "epochs", "batch"), [(10, 1, 1), (200, 1, 10), (200, 3, 30), (100_000, 1, 64)])
def test_the_batch_gives_about_twenty_steps(pairs: int, epochs: int, batch: int) -> None:
    assert auto_batch(pairs, epochs) == batch


def test_defaults_are_the_safe_ones() -> None:
    settings = resolve(DpoHyperparameters(), pairs=400, max_length=512)
    assert (settings.beta, settings.learning_rate, settings.n_epochs) == (0.1, 1e-6, 1)
    assert (settings.batch_size, settings.max_length, settings.warmup_ratio) == (20, 512, 0.1)


def test_a_gpu_trains_in_bf16_where_nothing_was_asked_and_a_cpu_in_fp32() -> None:
    def precision(device: Device, **asked: object) -> str:
        return resolve(DpoHyperparameters.model_validate(asked), pairs=40, max_length=8, device=device).precision

    assert (precision("cuda"), precision("cpu")) == ("bf16", "fp32")
    assert (precision("cuda", precision="fp32"), precision("cpu", precision="bf16")) == ("fp32", "bf16")


def test_the_multiplier_scales_the_base_rate_and_a_rate_of_its_own_wins() -> None:
    assert resolve(DpoHyperparameters(learning_rate_multiplier=3.0), pairs=40, max_length=8).learning_rate == 3e-6
    both = DpoHyperparameters(learning_rate_multiplier=3.0, learning_rate=1e-4)
    assert resolve(both, pairs=40, max_length=8).learning_rate == 1e-4


@pytest.mark.parametrize("loss", LOSSES)
def test_auto_is_the_losses_own(loss: LossName) -> None:
    settings = resolve(DpoHyperparameters(), pairs=40, max_length=8, loss=loss)
    assert settings.loss == loss
    assert {name: getattr(settings, name) for name in LOSSES[loss].auto} == LOSSES[loss].auto


def test_what_was_asked_wins_over_the_losses_own() -> None:
    asked = DpoHyperparameters(loss="dpop", beta=0.7, dpop_lambda=5.0)
    settings = resolve(asked, pairs=40, max_length=8, loss="dpop")
    assert (settings.beta, settings.dpop_lambda, settings.nll_weight) == (0.7, 5.0, 0.0)


def test_lora_has_a_rate_of_its_own_and_alpha_follows_the_rank() -> None:
    settings = resolve(DpoHyperparameters.model_validate({"lora": {"r": 8}}), pairs=40, max_length=8)
    assert settings.learning_rate == 1e-5
    assert settings.lora is not None
    assert (settings.lora.r, settings.lora.alpha, settings.lora.target_modules) == (8, 16.0, None)
    assert resolve(DpoHyperparameters.model_validate({"lora": {}}), pairs=40, max_length=8).lora == Lora()


def job(hyperparameters: dict[str, object], **palate: object) -> JobSpec:
    method = {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}
    return JobSpec.model_validate({"model": "m", "training_file": "f", "method": method, "palate": palate})


def test_what_is_exported() -> None:
    assert exports(job({})) == ["model"]
    assert exports(job({"lora": {}})) == ["adapter", "model"]
    for asked in (["model"], ["adapter"], ["model", "adapter"]):
        assert exports(job({"lora": {}}, export=asked)) == asked


def test_halving() -> None:
    assert [halved(8_192, n) for n in range(4)] == [8_192, 4_096, 2_048, 1_024]
    assert halved(1, 3) == 1


@pytest.mark.parametrize(("max_steps", "steps"), [("auto", 12), (5, 5), (100, 12)])
def test_the_last_batch_of_an_epoch_is_a_step_and_max_steps_only_shortens(max_steps: int | str, steps: int) -> None:
    asked = DpoHyperparameters.model_validate({"batch_size": 8, "n_epochs": 3, "max_steps": max_steps})
    assert total_steps(resolve(asked, pairs=26, max_length=64), 26) == steps


@pytest.mark.parametrize(
    ("examples", "held_out"), [(10, 0), (499, 0), (500, 50), (1_000, 50), (4_000, 200), (10_000, 500), (1_000_000, 500)]
)
def test_what_auto_holds_out(examples: int, held_out: int) -> None:
    share = held_out_share(JobSpec(model="m", training_file="f"), examples)
    assert trained_on(examples, share) == examples - held_out


def test_a_validation_file_leaves_the_training_file_whole() -> None:
    spec = JobSpec(model="m", training_file="f", validation_file="v")
    assert held_out_share(spec, 10_000) == 0.0
    asked = JobSpec.model_validate({"model": "m", "training_file": "f", "palate": {"eval": {"split": 0.25}}})
    assert held_out_share(asked, 40) == 0.25
    assert trained_on(40, 0.25) == 30
