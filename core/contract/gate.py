"""Whether a job may be made of what the checks found: a finding that blocks refuses it by its code, unless the user
accepts that code."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from core.contract.errors import BadInput
from core.contract.finding import Finding
from core.contract.findings import CHECKS

ACCEPT = "palate.accept"
LEAKAGE = "train_validation_leakage"
# With these the held-out figures say nothing. What else blocks is about learning, and nothing is learned of that data.
OF_HELD_OUT = frozenset({"contradictions", "ties_and_weak_margins", "trivially_separable", LEAKAGE})


def check_accepted(accepted: Sequence[str]) -> None:
    """Raises BadInput for the first code that no check has."""
    for number, code in enumerate(accepted):
        if code not in CHECKS:
            near = difflib.get_close_matches(code, CHECKS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(sorted(CHECKS))}."
            raise BadInput(f"'{code}' is no finding of the data report. {hint}", param=f"{ACCEPT}.{number}")


def blocking(checks: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """The findings, as reports hold them, that no job goes past by itself."""
    return [Finding.model_validate(each) for each in checks if each["severity"] == "block"]


def of(blocks: Iterable[Finding], param: str) -> list[Finding]:
    """Those that matter of the file that a job names by this param."""
    return [each for each in blocks if param == "training_file" or each.code in OF_HELD_OUT]


def split(blocks: Iterable[Finding], accepted: Collection[str]) -> tuple[list[Finding], list[Finding]]:
    """Those that refuse the job, and those that the user takes."""
    found = list(blocks)
    return [each for each in found if each.code not in accepted], [each for each in found if each.code in accepted]


def refusal(refused: list[Finding], *, source: str, param: str) -> BadInput:
    """`source` is what the findings are about, as the subject of the sentence; the first one's code is the error's."""
    first = refused[0]
    action = f" {first.action.rstrip('.')}." if first.action else ""
    names = ", ".join(f'"{each.code}"' for each in refused)
    return BadInput(
        f"{source} has findings that block training: {told(refused)}.{action} "
        f"To train on it as it is, send {ACCEPT} = [{names}].",
        code=first.code,
        param=param,
    )


def told(found: Iterable[Finding]) -> str:
    return ", ".join(
        f"{each.code} ({each.count:,} records, {each.share:.1%})" if each.count else each.code for each in found
    )
