"""The flags of `palate train` and `palate plan`."""

import argparse

FLAGS = {"n_epochs": "--epochs"}
EXPLAINED = {
    "n_epochs": "passes over the file",
    "batch_size": "pairs a step, over all ranks",
    "loss": "sigmoid (DPO), ipo, kto, simpo, ...; found from the data where it is not given",
    "beta": "how far the policy may leave the reference (sigmoid: 0.1)",
    "nll_weight": "weight of the chosen answer's own likelihood",
    "label_smoothing": "share of pairs whose label is taken to be wrong",
    "max_steps": "stop after so many steps",
    "max_length": "tokens of prompt and answer",
}


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How a file that is uploaded is to be read."""
    parser.add_argument("--format", help="of the file, where it is not found by itself")
    add_layout(parser)
    parser.add_argument("--skip-bad-rows", action="store_true", help="train on the rows that can be used")


def add_layout(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mapping",
        action="append",
        metavar="FIELD=COLUMN",
        help="where a field of a record stands, for a layout of your own; again for each field, or all as JSON",
    )
    command.add_argument(
        "--raw-text",
        action="store_true",
        help="train on prompt, chosen and rejected (texts) as they stand, without the model's chat template",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """What is not given stays the service's to decide."""
    from cli.train import HYPERPARAMETERS

    parser.add_argument("file", help="preference data, or the id of a file that is uploaded already")
    parser.add_argument("--model", required=True, metavar="NAME", help="a base model, or one that a job made")
    parser.add_argument("--validation", metavar="FILE", help="held-out pairs")
    parser.add_argument("--suffix", help="becomes a part of the new model's name")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--gpus", type=int, help="ranks (1)")
    parser.add_argument(
        "--lora", nargs="?", type=int, const=0, metavar="R", help="adapters of rank R (16), not all weights"
    )
    parser.add_argument("--target-modules", nargs="+", metavar="NAME", help="the linear layers that LoRA adapts (all)")
    parser.add_argument("--export", nargs="+", choices=("model", "adapter"), help="what is kept of a LoRA run (both)")
    parser.add_argument("--probe", action="append", metavar="TEXT", help="answered before and after; up to 8 times")
    parser.add_argument("--checkpoint-steps", type=int, metavar="N", help="a checkpoint every N steps")
    parser.add_argument("--eval-steps", type=int, metavar="N", help="score the held-out pairs every N steps")
    parser.add_argument(
        "--max-runtime", type=int, metavar="SECONDS", help="then it ends with what it has learned so far"
    )
    parser.add_argument(
        "--accept",
        nargs="+",
        metavar="CODE",
        help="findings of the data report that block and that you take as they are",
    )
    add_reading(parser)
    for name, kind in HYPERPARAMETERS.items():
        flag = FLAGS.get(name, "--" + name.replace("_", "-"))
        parser.add_argument(flag, dest=name, type=kind, metavar=kind.__name__.upper(), help=EXPLAINED.get(name))
