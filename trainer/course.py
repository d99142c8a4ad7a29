"""What the parts of a run share once it is assembled: the examples, the engine, the reference, how far it is."""

import hashlib
import json
from array import array
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import torch

from core.contract.run_spec import RunSpec
from core.contract.states import Phase
from trainer import stop
from trainer.collection import Collection
from trainer.emit import Emitter
from trainer.engine import Engine
from trainer.layouts import Layout
from trainer.noise import Noise
from trainer.reference import Reference
from trainer.render import Renderer
from trainer.scoring import Tick
from trainer.world import World

# Different template variables that a manifest holds.
TOLD = 20


@dataclass
class Data:
    """Training and held-out examples; for `kto` the mismatched answers of both, else empty. `dropped` records.
    kwargs: the chat template's variables that occur, as JSON."""

    train: Collection
    held_out: Collection
    mismatched: Collection
    held_out_mismatched: Collection
    dropped: int
    kwargs: frozenset[str] = frozenset()

    def all(self) -> dict[str, Collection]:
        return {
            "train": self.train,
            "held_out": self.held_out,
            "mismatched": self.mismatched,
            "held_out_mismatched": self.held_out_mismatched,
        }

    @cached_property
    def digest(self) -> str:
        """sha256 of all tokens and of where they are scored: a resume point serves only a run of the same."""
        seen = hashlib.sha256()
        for part in self.all().values():
            for example in part.examples:
                for answer in example.answers:
                    seen.update(array("q", [example.prefix, *chain(*answer.spans), -1, *answer.ids, -2]).tobytes())
        return seen.hexdigest()


@dataclass
class Progress:
    """After `step` optimizer steps; `tokens` trained; the last figures; when evaluated and exported; alarms told."""

    step: int = 0
    tokens: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)
    evaluated_at: int = -1
    checkpoint_at: int = -1
    alarms: list[str] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, float]:
        return {**self.metrics, **self.held_out}


@dataclass
class Course:
    spec: RunSpec
    world: World
    emitter: Emitter
    renderer: Renderer
    openings: list[list[int]]
    data: Data
    # Of the training examples, the indices of those that a step of this run trains on.
    used: list[int]
    engine: Engine
    layout: Layout
    noise: Noise
    reference: Reference
    total: int
    progress: Progress = field(default_factory=Progress)


def rendering(renderer: Renderer, data: Data) -> dict[str, Any]:
    """What the chat template is told beside the records, which decides the tokens; empty where that is nothing.

    Of variables that differ by record the first few, and how many there are.
    """
    told = [json.loads(each) for each in sorted(data.kwargs - {"{}"})]
    found: dict[str, Any] = {"chat_template_kwargs": told[:TOLD]} if told else {}
    if len(told) > TOLD:
        found["chat_template_kwargs_in_all"] = len(told)
    if renderer.template.asks_clock:
        found["clock"] = renderer.template.clock.isoformat()
    return found


def ticker(spec: RunSpec, world: World, emitter: Emitter, phase: Phase) -> Tick:
    """Tells how far a phase is, and leaves it when the worker asks to."""

    def tick(done: int, total: int) -> None:
        emitter.phase(phase, done, total)
        stop.heed(int(world.sum(torch.tensor(stop.wanted(spec.workspace, world.rank)))))

    return tick
