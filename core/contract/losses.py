"""The losses by name: which data each takes, which settings it uses, and what `auto` means for it.

One table for the API (what is refused), planning (what `auto` becomes) and the trainer (which names there are); the
formulas are in trainer/losses.py.
"""

from dataclasses import dataclass, field
from typing import Literal

from core.contract.preference import Kind

LossName = Literal[
    "sigmoid",
    "sigmoid_norm",
    "robust",
    "hinge",
    "ipo",
    "apo_zero",
    "apo_down",
    "dpop",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "exo_pair",
    "ld",
    "simpo",
    "orpo",
    "kto",
    "s_dpo",
    "plackett_luce",
]

PAIRS: frozenset[Kind] = frozenset({"pair", "ranking"})
LISTS: frozenset[Kind] = frozenset({"pair", "ranking"})
SINGLES: frozenset[Kind] = frozenset({"unpaired", "pair"})


@dataclass(frozen=True)
class LossFacts:
    """`auto` holds every setting of its own that the loss uses, with its automatic value.

    data: kinds of record it can be made of. unit: what one example of it is (a ranking becomes its pairs for a pairwise
    loss, a pair two single answers for `kto`). reference: whether it compares with one. a_token: whether it compares
    means over an answer's tokens, and so do the figures that a run shows; otherwise sums. columns: fields of the data
    that it honours beside the answers; a file that has others is refused for it (`margin` alone is never in the way:
    it counts only where margin_weight is above 0).
    """

    auto: dict[str, float]
    data: frozenset[Kind] = PAIRS
    unit: Literal["pair", "list", "single"] = "pair"
    reference: bool = True
    a_token: bool = False
    columns: frozenset[str] = field(default=frozenset())


# The sigmoid family: binary cross-entropy on beta D, so soft labels, margins and weights have a meaning.
FAMILY = frozenset({"weight", "confidence", "margin"})
WEIGHT = frozenset({"weight"})
SMOOTHED = {"label_smoothing": 0.0, "nll_weight": 0.0, "margin_weight": 0.0}

LOSSES: dict[LossName, LossFacts] = {
    "sigmoid": LossFacts({"beta": 0.1, **SMOOTHED}, columns=FAMILY),
    "sigmoid_norm": LossFacts({"beta": 5.0, **SMOOTHED}, a_token=True, columns=FAMILY),
    "robust": LossFacts({"beta": 0.1, "label_smoothing": 0.1, "nll_weight": 0.0}),
    "hinge": LossFacts({"beta": 0.05, "nll_weight": 0.0}),
    "ipo": LossFacts({"beta": 0.1, "nll_weight": 0.0}, a_token=True),
    "apo_zero": LossFacts({"beta": 0.1, "nll_weight": 0.0}),
    "apo_down": LossFacts({"beta": 0.1, "nll_weight": 0.0}),
    "dpop": LossFacts({"beta": 0.3, "dpop_lambda": 50.0, "nll_weight": 0.0}),
    "nca_pair": LossFacts({"beta": 0.01, "nll_weight": 0.0}),
    "bco_pair": LossFacts({"beta": 0.01, "nll_weight": 0.0}),
    "sppo_hard": LossFacts({"beta": 1e-3, "nll_weight": 0.0}),
    "exo_pair": LossFacts({"beta": 0.1, "label_smoothing": 1e-3, "nll_weight": 0.0}),
    "ld": LossFacts({"beta": 0.1, "ld_alpha": 0.5, **SMOOTHED}, columns=FAMILY),
    "simpo": LossFacts({"beta": 2.0, "simpo_gamma_ratio": 0.5, "nll_weight": 0.0}, reference=False, a_token=True),
    "orpo": LossFacts({"orpo_lambda": 0.1}, reference=False, a_token=True),
    "kto": LossFacts(
        {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}, SINGLES, "single", columns=WEIGHT
    ),
    "s_dpo": LossFacts({"beta": 1.0, "nll_weight": 0.0}, LISTS, "list", columns=WEIGHT),
    "plackett_luce": LossFacts({"beta": 1.0, "nll_weight": 0.0}, LISTS, "list", columns=WEIGHT),
}
# Settings that belong to a loss, as opposed to those of every run.
OWN_SETTINGS = frozenset(name for facts in LOSSES.values() for name in facts.auto)
