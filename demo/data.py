"""The preference files of the demo, in the OpenAI layout: training openings, and openings never trained on."""

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import grammar

TRAINING_PAIRS = 640
HELD_OUT_PAIRS = 128
SEED = "demo"


@dataclass(frozen=True)
class Pair:
    """One opening, the ending to prefer (intriguing) and the one to leave (flat)."""

    opening: grammar.Opening
    chosen: str
    rejected: str

    def row(self) -> dict[str, Any]:
        return {
            "input": {"messages": [{"role": "user", "content": self.opening.text}]},
            "preferred_output": [{"role": "assistant", "content": self.chosen}],
            "non_preferred_output": [{"role": "assistant", "content": self.rejected}],
        }


def pairs(seed: str, count: int, *, unseen: bool) -> list[Pair]:
    """The first `count` pairs of a seed; `unseen` takes held-out openings."""
    rng = random.Random(f"{seed}/pairs")
    return [
        Pair(about, grammar.ending(about, "intriguing", rng), grammar.ending(about, "flat", rng))
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


def write_both(folder: Path, seed: str = SEED) -> Files:
    """preferences.jsonl and heldout.jsonl in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    held_out = pairs(f"{seed}/held-out", HELD_OUT_PAIRS, unseen=True)
    training = pairs(f"{seed}/training", TRAINING_PAIRS, unseen=False)
    return Files(
        training=write(folder / "preferences.jsonl", training),
        held_out=write(folder / "heldout.jsonl", held_out),
        held_out_pairs=held_out,
        example=training[0],
    )
