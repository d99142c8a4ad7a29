"""Held-out figures, from the log-probabilities of every held-out example: the same numbers on any count of ranks."""

from torch import Tensor

from core.contract.run_spec import Settings
from trainer import figures
from trainer.collection import Collection, scores
from trainer.losses import loss, preference


def held_out(
    collection: Collection, policy: Tensor, reference: Tensor, kl: Tensor | None, settings: Settings, moved_yet: bool
) -> dict[str, float]:
    """Under TRL's names, with eval/ before them. `policy`, `reference`: sums [S, 2] of all held-out answers.

    Before the first step h is 0, and which answer it favours means nothing: no eval/rewards/accuracies then.
    """
    seen = scores(collection.examples, policy.double(), reference.double(), kl)
    totals = figures.sums(seen, settings, loss(seen, settings), preference(seen, settings))
    found = figures.shown(figures.means(totals.tolist()))
    if not moved_yet:
        found.pop("rewards/accuracies", None)
    return {f"eval/{name}": value for name, value in found.items()}
