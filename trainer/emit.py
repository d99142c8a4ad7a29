"""events.jsonl: what a run says while it runs, one JSON object a line."""

import os
import time
from pathlib import Path
from typing import Any

from core.contract.states import Phase
from core.contract.trainer_events import Failed, PhaseChanged, TrainerEvent, Warned
from trainer.failures import Verdict


class Emitter:
    """Rank 0 speaks; the others keep silent, but for the last word of a rank that fails first.

    Each rank prints what it would say: its own log (GET /logs) tells how far it came.
    """

    def __init__(self, workspace: Path, rank: int) -> None:
        self.workspace = workspace
        self.speaks = rank == 0
        self._told = 0.0
        self._phase: Phase | None = None

    def say(self, kind: type[TrainerEvent], **fields: Any) -> None:
        event = kind(time=time.time(), **fields)
        print(event.model_dump_json(exclude_none=True, exclude={"v"}))
        if self.speaks:
            self._write(event)

    def phase(self, phase: Phase, done: int = 0, total: int = 0) -> None:
        """The beginning and the end of a phase always; what lies between at most twice a second."""
        now = time.monotonic()
        if done in (0, total) or phase != self._phase or now - self._told >= 0.5:
            self._told, self._phase = now, phase
            self.say(PhaseChanged, phase=phase, done=done, total=total)

    def warn(self, code: str, message: str, **data: Any) -> None:
        self.say(Warned, code=code, message=message, data=data)

    def failed(self, verdict: Verdict) -> bool:
        """From any rank, once a run: later failures are mostly echoes of the first. False for an echo."""
        try:
            os.close(os.open(self.workspace / "ranks" / "failed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        self._write(
            Failed(
                time=time.time(),
                code=verdict.code,
                message=verdict.message,
                param=verdict.param,
                line=verdict.line,
                step=verdict.step,
                device=verdict.device,
            )
        )
        return True

    def _write(self, event: TrainerEvent) -> None:
        # One write of an appended line: ranks cannot tear each other's, and a reader waits for the newline.
        line = event.model_dump_json(exclude_none=True).encode() + b"\n"
        descriptor = os.open(self.workspace / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
