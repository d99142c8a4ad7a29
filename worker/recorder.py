"""From the trainer's events to rows: messages, metrics and progress, at most one transaction a second."""

from collections.abc import Mapping
from typing import Any

from core.contract.states import JobState, Phase, Wish
from core.contract.trainer_events import (
    AnyEvent,
    Evaluated,
    Judged,
    PhaseChanged,
    Sample,
    Started,
    Step,
    Verified,
    Warned,
)
from core.db import attempts, events, jobs, metrics
from core.db.attempts import Lease
from core.db.checkpoints import figures
from core.db.engine import transaction
from core.db.events import NewEvent

PHASE_WORDS = {
    Phase.TOKENIZING: "Tokenizing",
    Phase.REFERENCE_PASS: "Scoring the pairs with the reference model",
    Phase.TRAINING: "Training",
    Phase.EVALUATING: "Evaluating held-out pairs",
    Phase.SAMPLING: "Sampling the probe prompts",
    Phase.EXPORTING: "Exporting the model",
    Phase.VERIFYING: "Loading the exported model again and scoring it",
}


class Recorder:
    """Collects what `take` is given until `write`. `isolation` is told with the first event."""

    def __init__(self, lease: Lease, lease_seconds: float, isolation: Mapping[str, Any]) -> None:
        self._isolation = isolation
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._events: list[NewEvent] = []
        self._metrics: list[tuple[int, str, Mapping[str, float]]] = []
        self._shown: dict[str, Any] = {}
        self._held: dict[str, Any] = {}
        self._exact: dict[str, Any] = {}
        self._phase: Phase | None = None
        self._standing: dict[str, Any] = {}
        self._doubtful = False

    @property
    def pending(self) -> bool:
        return bool(self._events or self._metrics or self._shown)

    def take(self, event: AnyEvent) -> None:
        match event:
            case Started():
                self._held["resumed_from_step"] = event.resumed_from_step
                resumed = f", resumed from step {event.resumed_from_step}" if event.resumed_from_step else ""
                self.say(
                    f"Trainer started on {event.world_size} ranks: {event.pairs} pairs, "
                    f"{event.total_steps} steps{resumed}.",
                    data=event.details | {"layout": event.layout, "isolation": self._isolation},
                )
                self._split(event)
                self._progress(event.resumed_from_step, event.total_steps)
            case PhaseChanged():
                # A resume point's is too short, and comes too often, to be told.
                if event.phase not in (self._phase, Phase.SAVING):
                    self.say(f"{PHASE_WORDS.get(event.phase, event.phase.value)}.", data={"phase": event.phase.value})
                    self._phase = event.phase
                self._shown["phase"] = event.phase
                self._within(event.done, event.total)
            case Step():
                self._step(event)
            case Evaluated():
                self._metrics.append((event.step, "eval", figures_of(event.metrics)))
                self.say(f"Held-out pairs at step {event.step}: {in_words(event.metrics)}.", data=event.metrics)
            case Sample():
                self.say(
                    f"Sample {event.when} training: {event.completion}",
                    data={"prompt": event.prompt, "completion": event.completion, "when": event.when},
                )
            case Judged():
                self._judged(event)
            case Warned():
                self.say(event.message, level="warn", data=event.data | {"code": event.code})
            case Verified(passed=True):
                self.say(event.message, data={**event.figures, "text": event.text})
            case _:
                pass

    def _split(self, event: Started) -> None:
        """What is held out of the training file, if anything; how much is left was reckoned until now."""
        held_out = event.details.get("held_out_pairs")
        if not event.details.get("held_out_share") or not held_out:
            return
        self._exact = {"pairs": event.pairs, "steps": event.total_steps, "held_out": held_out}
        if not event.resumed_from_step:
            self.say(
                f"{held_out} of the training file's examples are held out, by whole prompts (palate.eval.split); "
                "the held-out figures are theirs.",
                data={"held_out": held_out},
            )

    def _judged(self, event: Judged) -> None:
        """One event, which keeps them whole; what is wrong comes first in its words."""
        findings = event.findings
        whole = event.examples == event.of
        part = "" if whole else f"; of {event.examples:,} of the {event.of:,} examples, those that the run's steps use"
        worst = [each for each in findings if each.severity != "info"]
        figures = ", ".join(f"{each.title.lower()} {each.value or 0:.3g} {each.unit}" for each in findings)
        advice = " ".join(each.action for each in worst)
        self.say(
            f"The data, by the reference model: {figures}{part}.{' ' + advice if advice else ''}",
            level="warn" if worst else "info",
            data={
                "findings": [each.model_dump(mode="json") for each in findings],
                "examples": event.examples,
                "of": event.of,
            },
        )

    def _step(self, event: Step) -> None:
        row = {"step": event.step, "total_steps": event.total_steps, **figures_of(event.metrics)}
        self._metrics.append((event.step, "train", row))
        self._events.append(
            NewEvent(
                f"Step {event.step}/{event.total_steps}: training loss={event.metrics.get('loss', float('nan')):.4f}",
                type="metrics",
                data=row,
            )
        )
        self._shown["trained_tokens"] = event.tokens
        self._shown["phase"] = Phase.TRAINING
        self._progress(event.step, event.total_steps, event.pairs_per_second, event.eta_seconds)

    def _progress(self, step: int, total: int, rate: float | None = None, eta: float | None = None) -> None:
        self._held["step"] = step
        self._standing = {
            "step": step,
            "total_steps": total,
            "percent": round(100 * step / total, 2) if total else 0.0,
            "pairs_per_second": rate,
            "eta_seconds": eta,
        }
        self._shown["progress"] = self._standing

    def _within(self, done: int, total: int) -> None:
        """How far a phase has come that is no training step: records, pairs, parameters, prompts."""
        self._shown["progress"] = {**self._standing, "phase_done": done, "phase_total": total or None}

    def say(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """An event beside those that the trainer's own words make."""
        self._events.append(NewEvent(message, level=level, data=data))

    def write(self) -> Wish:
        """Everything collected in one transaction that also renews the lease; raises Fenced and keeps nothing then.

        When Postgres is away, what was collected stays for the next call, which looks first what of it was committed:
        the answer alone may have been lost.
        """
        doubtful, self._doubtful = self._doubtful, True
        with transaction() as session:
            job = jobs.locked(session, self._lease.job_id)
            wish = attempts.hold(session, self._lease, self._lease_seconds, **self._held)
            fresh = events.unknown(session, job.id, self._events) if doubtful else self._events
            metrics.record(session, job.id, self._metrics)
            shown = dict(self._shown)
            if (towards := Phase.towards(wish)) and job.state == JobState.RUNNING:
                shown["phase"] = towards
            if self._exact:
                shown["data"] = (job.data or {}) | {name: self._exact[name] for name in ("pairs", "held_out")}
                shown["resolved"] = (job.resolved or {}) | {"max_steps": self._exact["steps"]}
            jobs.show(session, job.id, *fresh, **shown)
        self._events, self._metrics, self._shown, self._held, self._exact = [], [], {}, {}, {}
        self._doubtful = False
        return wish


def figures_of(measured: Mapping[str, float]) -> dict[str, float]:
    """OpenAI's names for the losses beside the field's names for the rest."""
    return {name: value for name, value in figures(measured).items() if value is not None}


def in_words(measured: Mapping[str, float]) -> str:
    return ", ".join(f"{name.removeprefix('eval/')} {value:.4g}" for name, value in measured.items())
