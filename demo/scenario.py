"""What is shown to whom: the storyteller that is made on the spot, and a real model from a wheel."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.grammar import Opening
from demo.stack import DemoFailed

# Told after each step of making a base model: step, steps, loss.
Look = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Wording:
    """Of the page and the terminal."""

    title: str
    lede: str
    base: str
    hello: tuple[str, ...]
    shown: str
    made: str


@dataclass(frozen=True)
class Scenario:
    """`base` gives the base model's folder and whether it was made now; `request` stands behind each opening.

    `sampled` endings are told apart by the grammar; none of a model that writes in words of its own. `shown`: openings
    whose endings are printed, unseen by training; none: the last of the held-out ones.
    """

    name: str
    command: str
    base: Callable[[Path, Look], tuple[Path, bool]]
    wording: Wording
    hyperparameters: dict[str, Any]
    training_pairs: int
    held_out_pairs: int
    sampled: int
    longest: int
    request: str = ""
    shown: tuple[Opening, ...] = field(default=())
    eval_steps: int | None = None

    def ask(self, opening: str) -> str:
        """The user's message."""
        return f"{opening}\n\n{self.request}" if self.request else opening


def made_storyteller(cache: Path, look: Look) -> tuple[Path, bool]:
    from demo.pretrain import Recipe, ensure

    return ensure(cache, Recipe(), look)


def found_smollm2(cache: Path, look: Look) -> tuple[Path, bool]:
    """In the user's cache, whatever `cache` is: tests and benchmarks read it too."""
    from demo import smollm2

    try:
        return smollm2.folder(), False
    except smollm2.Unavailable as error:
        raise DemoFailed(str(error)) from error


STORYTELLER = Scenario(
    name="storyteller",
    command="make demo",
    base=made_storyteller,
    wording=Wording(
        title="A small model learned how a story should end",
        lede="It could write two kinds of ending, equally often: some that intrigue, some that fall flat.",
        base="A base model that writes both kinds",
        hello=(
            "A small model learns how a story should end.",
            "It can write two kinds of ending, equally often. We show it pairs, the better one marked,",
        ),
        shown="Three openings that no training ever saw; each model’s single likeliest ending.",
        made="Stories, vocabulary, weights and figures were all made on this machine.",
    ),
    # The learning rate suits 0.9 million parameters and 40 steps; see the docstring of demo/__init__.py.
    hyperparameters={"beta": 0.1, "learning_rate": 1e-3, "nll_weight": 4.0, "batch_size": 16, "n_epochs": 1},
    training_pairs=640,
    held_out_pairs=128,
    sampled=128,
    longest=80,
)

# The grammar makes none of these: other people, places and things.
STRANGERS = (
    Opening(
        "Every evening the lift in our building stops on the ninth floor, though the building has eight. Tonight "
        "Pavel, the porter, did not take the stairs. He pressed nine.",
        "Pavel",
        "building",
        "lift",
        "floor",
    ),
    Opening(
        "The radio on the kitchen shelf had been broken for years. At six in the morning it began to read out a list "
        "of names, and Greta, buttering her bread, waited for hers.",
        "Greta",
        "kitchen",
        "radio",
        "names",
    ),
    Opening(
        "When the lake was drained they found a telephone box at the bottom, its light still on. The engineer, a "
        "woman named Yusra, waded over, and the telephone rang.",
        "Yusra",
        "lake",
        "telephone",
        "light",
    ),
)

SMOLLM2 = Scenario(
    name="smollm2-135m-instruct",
    command="make demo-real",
    base=found_smollm2,
    wording=Wording(
        title="A real model learned how a story should end",
        lede="SmolLM2-135M-Instruct, which others trained and which writes good English, was asked to end stories. "
        "It wrote on and on, and explained.",
        base="A base model that others trained",
        hello=(
            "A real model, SmolLM2-135M-Instruct, learns how a story should end.",
            "It writes good English, and dull endings. We show it pairs, the better one marked,",
        ),
        shown="Three openings of a kind that no training pair has: written by hand, about other people, places and "
        "things. Each model’s single likeliest ending.",
        made="The base model is Apache-2.0; pairs and figures were made on this machine.",
    ),
    hyperparameters={
        "beta": 0.1,
        "learning_rate": 1e-3,
        "nll_weight": 2.0,
        "batch_size": 8,
        "n_epochs": 1,
        "lora": {"r": 16},
    },
    training_pairs=112,
    held_out_pairs=32,
    sampled=0,
    longest=90,
    request="End this story in two sentences.",
    shown=STRANGERS,
)
