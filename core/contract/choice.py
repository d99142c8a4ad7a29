"""Which loss a job runs, and whether its settings and its data suit that loss: one place for what is refused."""

from collections.abc import Callable, Collection, Iterable

from core.contract.errors import BadInput
from core.contract.job_spec import DpoHyperparameters, JobSpec
from core.contract.losses import LOSSES, OWN_SETTINGS, LossName
from core.contract.preference import Kind

AT = "method.dpo.hyperparameters"
# What `auto` becomes for each kind of data.
BY_KIND: dict[Kind, LossName] = {"pair": "sigmoid", "ranking": "sigmoid", "unpaired": "kto"}
CANDIDATES = tuple(dict.fromkeys(BY_KIND.values()))
WORDS: dict[Kind, str] = {
    "pair": "pairs (chosen and rejected)",
    "ranking": "rankings (answers with ranks)",
    "unpaired": "single answers with a label",
}
# Fields of the data that change the loss of every record which has them.
COLUMNS = ("weight", "confidence")
# What makes soft labels of data that has none: only a loss that uses a confidence can take it.
SOFT = {"ties": "half", "annotators": "confidence"}

FITS = tuple[Callable[[float], bool], str]
ANYTHING: FITS = (lambda value: True, "")
HALF: FITS = (lambda e: e <= 0.5, "of at most 0.5: above it the labels would be turned round")
TARGET: FITS = (lambda beta: beta >= 1e-6, "of at least 1e-06: its target is 1 / (2 beta)")
# What a formula needs beyond the bounds of the setting (core.contract.job_spec), and in words.
NEEDS: dict[tuple[LossName, str], FITS] = {
    ("sigmoid", "label_smoothing"): HALF,
    ("sigmoid_norm", "label_smoothing"): HALF,
    ("ld", "label_smoothing"): HALF,
    ("robust", "label_smoothing"): (lambda e: e < 0.5, "less than 0.5: it divides by 1 - 2e"),
    ("exo_pair", "label_smoothing"): (lambda e: e > 0, "greater than 0: it takes ln e (auto: 0.001)"),
    ("ipo", "beta"): TARGET,
    ("sppo_hard", "beta"): TARGET,
}


def loss_of(asked: DpoHyperparameters, kind: Kind) -> LossName:
    return BY_KIND[kind] if asked.loss == "auto" else asked.loss


def check_settings(asked: DpoHyperparameters, loss: LossName | None) -> None:
    """Raises BadInput for a setting that the loss does not use, or not with this value; None: not known yet."""
    possible = CANDIDATES if loss is None else (loss,)
    for name in sorted(OWN_SETTINGS):
        value = getattr(asked, name)
        if value == "auto":
            continue
        if not any(name in LOSSES[each].auto for each in possible):
            users = [each for each, facts in LOSSES.items() if name in facts.auto]
            raise BadInput(
                f"Loss {spelled(possible)} does not use `{name}`; leave it out, or choose one that does: "
                f"{', '.join(users)}.",
                code="setting_not_used",
                param=f"{AT}.{name}",
            )
        for each in possible:
            fits, words = NEEDS.get((each, name), ANYTHING)
            if not fits(value):
                raise BadInput(f"Loss {each} needs a `{name}` {words}.", code="out_of_range", param=f"{AT}.{name}")
    for name, value in SOFT.items():
        if getattr(asked, name) == value and not any("confidence" in LOSSES[each].columns for each in possible):
            users = [each for each, facts in LOSSES.items() if "confidence" in facts.columns]
            raise BadInput(
                f"`{name}`: {value!r} makes soft labels, which loss {spelled(possible)} does not use; leave it out, or "
                f"choose one that does: {', '.join(users)}.",
                code="setting_not_used",
                param=f"{AT}.{name}",
            )
    if loss == "kto" and asked.desirable_weight == 0 and asked.undesirable_weight == 0:
        raise BadInput(
            "With both `desirable_weight` and `undesirable_weight` 0 nothing is learned; raise one.",
            code="out_of_range",
            param=f"{AT}.desirable_weight",
        )


def check_split(spec: JobSpec) -> None:
    """Raises BadInput where both a validation file and a share of the training file would be held out."""
    split = spec.palate.eval.split
    if spec.validation_file is not None and split != "auto" and split > 0:
        raise BadInput(
            "With a `validation_file` nothing of the training file is held out; leave one of the two out.",
            code="setting_not_used",
            param="palate.eval.split",
        )


def check_data(asked: DpoHyperparameters, kind: Kind, columns: Collection[str], *, param: str) -> LossName:
    """The loss for data of this kind. Raises BadInput where it cannot be made of it; `param` names the file."""
    loss = loss_of(asked, kind)
    facts = LOSSES[loss]
    # A held-out file has to suit the loss that the training file suits.
    where = f"{AT}.loss" if asked.loss != "auto" and param == "training_file" else param
    if kind not in facts.data:
        raise BadInput(
            f"Loss {loss} needs {spelled(WORDS[each] for each in WORDS if each in facts.data)}; "
            f"the file of `{param}` holds {WORDS[kind]}, which these losses take: {', '.join(takers(kind))}.",
            code="loss_needs_other_data",
            param=where,
        )
    check_settings(asked, loss)
    for column in COLUMNS:
        if column in columns and column not in facts.columns:
            honest = [each for each in takers(kind) if column in LOSSES[each].columns]
            others = f"use one that does ({', '.join(honest)}), or " if honest else ""
            raise BadInput(
                f"Records of the file of `{param}` carry `{column}`, which loss {loss} does not use: "
                f"{others}remove that field from the data.",
                code="loss_needs_other_data",
                param=where,
            )
    ranked = kind == "ranking"  # the distance of two ranks is the margin of their pair
    if asked.margin_weight != "auto" and asked.margin_weight > 0 and "margin" not in columns and not ranked:
        raise BadInput(
            f"`margin_weight` needs records with a margin (from scores), and the file of `{param}` has none; "
            "leave it out.",
            code="loss_needs_other_data",
            param=f"{AT}.margin_weight",
        )
    return loss


def takers(kind: Kind) -> list[LossName]:
    return [name for name, facts in LOSSES.items() if kind in facts.data]


def spelled(words: Iterable[str]) -> str:
    return " or ".join(words)
