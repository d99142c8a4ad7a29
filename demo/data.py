"""The preference files of the demo, in the OpenAI layout: training openings, and openings never trained on."""

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import grammar
from demo.scenario import Scenario

SEED = "demo"


@dataclass(frozen=True)
class Pair:
    """One opening, the ending to prefer (intriguing) and the one to leave (flat); `asked` is the user's message."""

    opening: grammar.Opening
    chosen: str
    rejected: str
    asked: str

    def row(self) -> dict[str, Any]:
        return {
            "input": {"messages": [{"role": "user", "content": self.asked}]},
            "preferred_output": [{"role": "assistant", "content": self.chosen}],
            "non_preferred_output": [{"role": "assistant", "content": self.rejected}],
        }


def pairs(scenario: Scenario, seed: str, count: int, *, unseen: bool) -> list[Pair]:
    """The first `count` pairs of a seed; `unseen` takes held-out openings."""
    rng = random.Random(f"{seed}/pairs")
    return [
        Pair(
            about,
            grammar.ending(about, "intriguing", rng),
            grammar.ending(about, "flat", rng),
            scenario.ask(about.text),
        )
        for about in itertools.islice(grammar.openings(seed, unseen=unseen), count)
    ]


def write(path: Path, told: Iterable[Pair]) -> Path:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as stream:
        for pair in told:
            stream.write(json.dumps(pair.row(), ensure_ascii=False) + "\n")
    return path


@dataclass(frozen=True)
class Files:
    training: Path
    held_out: Path
    held_out_pairs: list[Pair]
    example: Pair


def write_both(folder: Path, scenario: Scenario, seed: str = SEED) -> Files:
    """preferences.jsonl and heldout.jsonl in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    held_out = pairs(scenario, f"{seed}/held-out", scenario.held_out_pairs, unseen=True)
    training = pairs(scenario, f"{seed}/training", scenario.training_pairs, unseen=False)
    return Files(
        training=write(folder / "preferences.jsonl", training),
        held_out=write(folder / "heldout.jsonl", held_out),
        held_out_pairs=held_out,
        example=training[0],
    )
