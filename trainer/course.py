"""What the parts of a run share once it is assembled: the pairs, the engine, the reference, how far it is."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.contract.run_spec import RunSpec
from core.contract.states import Phase
from trainer import stop
from trainer.data import Pair
from trainer.emit import Emitter
from trainer.engine import Engine
from trainer.reference import Reference
from trainer.scorer import lengths
from trainer.scoring import Tick
from trainer.world import World


@dataclass
class Pairs:
    """Training and held-out pairs; lengths in scored tokens, [pairs, 2]."""

    train: list[Pair]
    held_out: list[Pair]
    dropped: int

    def __post_init__(self) -> None:
        self.longest = [pair.longest for pair in self.train]
        self.train_lengths: Tensor = lengths(self.train)
        self.held_out_lengths: Tensor = lengths(self.held_out)


@dataclass
class Progress:
    """After `step` optimizer steps; `tokens` trained; the last figures of training and evaluation."""

    step: int = 0
    tokens: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)
    evaluated_at: int = -1

    @property
    def figures(self) -> dict[str, float]:
        return {**self.metrics, **self.held_out}


@dataclass
class Course:
    spec: RunSpec
    world: World
    emitter: Emitter
    tokenizer: Any
    end_ids: frozenset[int]
    pairs: Pairs
    engine: Engine
    reference: Reference
    total: int
    progress: Progress = field(default_factory=Progress)


def ticker(spec: RunSpec, world: World, emitter: Emitter, phase: Phase) -> Tick:
    """Tells how far a phase is, and leaves it when the worker asks to."""

    def tick(done: int, total: int) -> None:
        emitter.phase(phase, done, total)
        stop.heed(int(world.sum(torch.tensor(stop.wanted(spec.workspace, world.rank)))))

    return tick
