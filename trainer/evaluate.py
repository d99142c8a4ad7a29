"""Held-out figures, from the log-probabilities of every held-out pair: the same numbers on any count of ranks."""

from torch import Tensor

from core.contract.run_spec import Settings
from trainer.losses import moved, negative_log_likelihood, preference, rewards, wins


def held_out(
    policy: Tensor, reference: Tensor, lengths: Tensor, settings: Settings, moved_yet: bool
) -> dict[str, float]:
    """Under TRL's names. `policy`, `reference`, `lengths`: [pairs, 2] of all pairs.

    Before the first step h is 0, and which answer it favours means nothing: no eval/rewards/accuracies then.
    """
    policy, reference, lengths = policy.double(), reference.double(), lengths.double()
    h = moved(policy, reference)
    chosen, rejected = rewards(h, settings.beta)
    nll = negative_log_likelihood(policy, lengths)
    figures = {
        "eval/loss": preference(h, settings) + settings.nll_weight * nll,
        "eval/nll_loss": nll,
        "eval/logps/chosen": policy[:, 0],
        "eval/logps/rejected": policy[:, 1],
        "eval/logps/accuracies": (policy[:, 0] > policy[:, 1]).double(),
        "eval/rewards/chosen": chosen,
        "eval/rewards/rejected": rejected,
        "eval/rewards/margins": chosen - rejected,
    }
    if moved_yet:
        figures["eval/rewards/accuracies"] = wins(h.difference, lengths)
    return {name: float(values.mean()) for name, values in figures.items()}
