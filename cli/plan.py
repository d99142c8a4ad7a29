"""`palate plan FILE --model NAME`: the flags of `train`; what the training would take, and no job."""

import argparse
import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import train
from cli.progress import clock
from cli.service import Service
from core.contract.errors import Unavailable

AGAIN_SECONDS = 0.5
PATIENCE_SECONDS = 1_800.0
PARTS = ("weights", "gradients", "optimizer", "activations", "head", "verifying", "gathered", "buckets", "runtime")
STAGES = ("start", "reference", "training", "evaluation", "export")
Json = dict[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """0 when it fits, or nobody knows; 1 when it does not."""
    with Service.of(arguments.home) as service:
        plan = wanted(service, train.asked(service, arguments))
    if arguments.json:
        print(json.dumps(plan, indent=1))
    else:
        draw(plan, Console())
    return 1 if plan["memory"]["fits"] is False else 0


def wanted(service: Service, body: Json) -> Json:
    """Waits while file and model are inspected."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (plan := service.post("/fine_tuning/plan", json=body)).get("status") == "computing":
        if time.monotonic() > deadline:
            raise Unavailable("The inspection of the file does not end; is a worker running?")
        time.sleep(AGAIN_SECONDS)
    return plan


def draw(plan: Json, console: Console) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows(plan):
        table.add_row(name, Text(value))
    console.print(table)
    if plan["recommended"]:
        names = ", ".join(f"{name} {value}" for name, value in plan["recommended"]["settings"].items())
        console.print(
            " ".join([f"from the data report: {names}.", *plan["recommended"]["why"]]), highlight=False, markup=False
        )
    for each in plan["warnings"]:
        console.print(f"warning: {each['message']}", highlight=False, markup=False)
    if plan["memory"]["fits"] is False:
        would = ", or ".join(each["message"] for each in plan["advice"]) or "a node with more memory"
        print(f"palate: {plan['memory']['reason']} It would fit with {would}. (does_not_fit)", file=sys.stderr)


def reasons(left_out: dict[str, int]) -> str:
    return f" ({', '.join(f'{code}: {count:,}' for code, count in left_out.items())})" if left_out else ""


def rows(plan: Json) -> list[tuple[str, str]]:
    settings, memory, seconds, fed = plan["hyperparameters"], plan["memory"], plan["seconds"], plan["tokens"]
    units = {"pair": "pairs", "list": "lists", "single": "answers"}[plan["unit"]]
    where = f"{memory['node']}: {bytes_of(memory['available'])}" if memory["node"] else memory["reason"]
    verdict = {True: "fits", False: "does not fit", None: "unknown"}[memory["fits"]]
    return [
        ("data", f"{plan['examples']:,} {units}, {plan['dropped']:,} records left out{reasons(plan['left_out'])}"),
        ("steps", f"{plan['steps']:,} of {settings['batch_size']} {units}, {settings['n_epochs']} epochs"),
        ("tokens", f"{fed['fed']:,} an epoch ({fed['unshared']:,} without shared prompts), {fed['scored']:,} scored"),
        ("loss", ", ".join([settings["loss"], *own(settings)])),
        ("rate", f"{settings['learning_rate']:g} {settings['lr_schedule']}, warm-up {settings['warmup_ratio']:g}"),
        ("lora", "no, all weights" if settings["lora"] is None else f"r {settings['lora']['r']}"),
        ("length", f"{settings['max_length']:,} tokens, {settings['truncation']}; {settings['precision']}"),
        ("ranks", f"{plan['ranks']}, rows of at most {plan['row_tokens']:,} tokens"),
        ("memory", f"{bytes_of(memory['total'])} a rank; {where}; {verdict}"),
        *(("", f"  {name} {bytes_of(memory['parts'][name])}") for name in PARTS),
        ("time", f"{clock(seconds['whole'])} ({seconds['basis']})"),
        *(
            ("", f"  {name} {clock(seconds[name])}")
            for name in ("start", "reference", "training", "evaluation", "export")
        ),
    ]


def own(settings: Json) -> list[str]:
    """The settings that this loss uses."""
    from core.contract.losses import LOSSES

    facts = LOSSES.get(settings["loss"])
    return [f"{name} {settings[name]:g}" for name in facts.auto] if facts else []


def bytes_of(number: int) -> str:
    return f"{number / 2**30:.2f} GiB"
