"""Values that people have trained with and reported; outside of them a job runs, with a warning."""

from core.contract.choice import AT
from core.contract.job_spec import DpoHyperparameters
from core.contract.losses import LOSSES, LossName

# What `auto` is: of all weights, and of LoRA's.
LEARNING_RATE, LORA_LEARNING_RATE = 1e-6, 1e-5
# Times and part of `auto`: published runs of DPO go from 5e-8 to 5e-6 with all weights and to 2e-4 with LoRA.
RATE_BAND = (0.05, 20.0)
BETA_BAND = (0.1, 10.0)


def rate_of(asked: DpoHyperparameters) -> float:
    """The learning rate as a number; one of its own wins over the multiplier."""
    if asked.learning_rate != "auto":
        return asked.learning_rate
    multiplier = 1.0 if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier
    return multiplier * (LEARNING_RATE if asked.lora is None else LORA_LEARNING_RATE)


def warnings(asked: DpoHyperparameters, loss: LossName) -> list[tuple[str, str]]:
    """(param, sentence) of each setting outside its band."""
    found = []
    rate, base = rate_of(asked), LEARNING_RATE if asked.lora is None else LORA_LEARNING_RATE
    low, high = (base * factor for factor in RATE_BAND)
    if not low <= rate <= high:
        kind = "all weights" if asked.lora is None else "LoRA"
        what = "over-optimises soon: watch logps/chosen and the samples" if rate > high else "hardly learns"
        found.append(
            (
                f"{AT}.learning_rate",
                f"learning_rate {rate:g} is outside {low:g} to {high:g}, the tested band for {kind}; a run {what}.",
            )
        )
    usual = LOSSES[loss].auto.get("beta")
    if usual is not None and asked.beta != "auto":
        low, high = (usual * factor for factor in BETA_BAND)
        if not low <= asked.beta <= high:
            found.append(
                (f"{AT}.beta", f"beta {asked.beta:g} is outside {low:g} to {high:g}, the tested band of loss {loss}.")
            )
    return found
