"""Why an attempt ended, from the trainer's last word and its exit codes; what nobody explains is our bug."""

import signal
from collections.abc import Mapping
from dataclasses import replace

from core.contract.exits import Exit
from core.contract.states import FailureClass, Outcome
from core.contract.trainer_events import AnyEvent, Failed, Finished, Stopped
from core.db.attempts import Ending
from core.disk import is_full
from planning.resolve import MAX_HALVINGS

CLASSES = {
    Exit.BAD_SPEC: FailureClass.BUG,
    Exit.BAD_DATA: FailureClass.USER,
    Exit.BAD_MODEL: FailureClass.USER,
    Exit.BUG: FailureClass.BUG,
    Exit.DIVERGED: FailureClass.NUMERIC,
    Exit.OUT_OF_GPU_MEMORY: FailureClass.OOM_GPU,
    Exit.REFUSED: FailureClass.REFUSED,
    Exit.INFRASTRUCTURE: FailureClass.INFRA,
}
BUG_RETRIES = 2


def classify(
    last: AnyEvent | None,
    launcher_code: int,
    rank_codes: dict[int, int],
    killed_ranks: list[int],
    retries: int,
    limit: int,
    halvings: int = 0,
) -> Ending:
    """`last` is the last terminal event, `rank_codes` the exit codes that ranks left behind (the launcher's own is 1
    for every failure), `killed_ranks` those that were signalled to death without a word."""
    if isinstance(last, Finished) and launcher_code == 0:
        return Ending(Outcome.FINISHED, exit_code=0)
    if isinstance(last, Stopped):
        outcome = Outcome.PREEMPTED if last.reason == "drain" else Outcome.STOPPED
        return Ending(outcome, exit_code=Exit.STOPPED)
    spoken = [code for code in rank_codes.values() if code in CLASSES]
    if isinstance(last, Failed) or spoken:
        code = spoken[0] if spoken else Exit.BUG
        error = (
            {"code": last.code, "message": with_line(last), "param": last.param}
            if isinstance(last, Failed)
            else {"code": "trainer_failed", "message": f"The trainer ended with exit code {code}."}
        )
        ending = failed(CLASSES[Exit(code)], error, int(code), retries, limit, halvings)
        return replace(ending, device=last.device) if isinstance(last, Failed) else ending
    if killed_ranks or launcher_code in (-signal.SIGKILL, -signal.SIGTERM):
        who = f"rank {killed_ranks[0]}" if killed_ranks else "the launcher"
        error = {"code": "interrupted", "message": f"{who} was killed"}
        return failed(FailureClass.INFRA, error, launcher_code, retries, limit)
    error = {"code": "internal_error", "message": f"The trainer ended without a word (exit code {launcher_code})."}
    return failed(FailureClass.BUG, error, launcher_code, retries, limit)


def told(error: Exception, node: str) -> tuple[str, str]:
    """Code and message of what stopped the worker itself."""
    if is_full(error):
        return "no_space", f"The disk of node {node} is full."
    return "infrastructure_error", str(error)


def failed(
    failure: FailureClass,
    error: Mapping[str, str | None],
    exit_code: int,
    retries: int,
    limit: int,
    halvings: int = 0,
) -> Ending:
    """Infrastructure is tried again while there is progress, a bug twice, a GPU out of memory with smaller rows."""
    if failure == FailureClass.OOM_GPU:
        again = halvings < MAX_HALVINGS
    else:
        again = retries < {FailureClass.INFRA: limit - 1, FailureClass.BUG: BUG_RETRIES}.get(failure, 0)
    return Ending(Outcome.FAILED, exit_code=exit_code, failure=failure, error=error, retry=again)


def with_line(event: Failed) -> str:
    return f"{event.message} (line {event.line})" if event.line else event.message
