"""What `auto` takes from the report of the data: settings that suit it, where the loss has them and nobody asked
otherwise."""

from collections.abc import Collection
from typing import Any, NamedTuple

from pydantic import BaseModel

from core.contract.choice import check_data, check_settings, loss_of
from core.contract.errors import BadInput
from core.contract.job_spec import DpoHyperparameters
from core.contract.losses import LOSSES, LossName
from core.contract.preference import Kind
from core.contract.run_spec import Annotators

ADVISED = ("label_smoothing", "nll_weight")


class Recommended(BaseModel):
    """Settings of a job that suit the data; null where the default does."""

    loss: str | None = None
    label_smoothing: float | None = None
    nll_weight: float | None = None
    annotators: Annotators | None = None
    why: list[str] = []


class Taken(NamedTuple):
    """`asked` with what the report decided; `settings` are those, by name; `why` in sentences."""

    asked: DpoHyperparameters
    settings: dict[str, Any]
    why: list[str]

    @property
    def message(self) -> str:
        told = ", ".join(
            f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}"
            for name, value in self.settings.items()
        )
        return " ".join([f"`auto` takes what the data report recommends: {told}.", *self.why])


def take(asked: DpoHyperparameters, kind: Kind, columns: Collection[str], advised: Recommended) -> Taken:
    """A recommended loss is left where an explicit setting is none of its own, or is a `beta`, whose scale is another
    with each loss."""
    settings: dict[str, Any] = {}
    plain = loss_of(asked, kind)
    if asked.loss == "auto" and advised.loss in LOSSES and advised.loss != plain and asked.beta == "auto":
        wanted = asked.model_copy(update={"loss": advised.loss})
        if suits(wanted, kind, columns):
            settings["loss"] = advised.loss
    loss: LossName = settings.get("loss", plain)
    for name in ADVISED:
        value, usual = getattr(advised, name), LOSSES[loss].auto.get(name)
        if value is None or usual is None or value == usual or getattr(asked, name) != "auto":
            continue
        if usable(asked.model_copy(update={name: value}), loss):
            settings[name] = value
    votes = advised.annotators
    if votes and asked.annotators == "auto" and usable(asked.model_copy(update={"annotators": votes}), loss):
        settings["annotators"] = votes
    if not settings:
        return Taken(asked, {}, [])
    return Taken(DpoHyperparameters.model_validate(asked.model_dump() | settings), settings, advised.why)


def suits(asked: DpoHyperparameters, kind: Kind, columns: Collection[str]) -> bool:
    try:
        check_data(asked, kind, columns, param="training_file")
    except BadInput:
        return False
    return True


def usable(asked: DpoHyperparameters, loss: LossName) -> bool:
    """Whether the loss takes the value; what else was asked has been judged before."""
    try:
        check_settings(asked, loss)
    except BadInput:
        return False
    return True
