"""Every command and its flags; a command's own file is imported when it runs."""

import argparse
import re
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from cli.place import add_home
from cli.settings import add_layout, add_reading, add_training

AGE = re.compile(r"([0-9]{1,9})([hdw])")
HOURS = {"h": 1, "d": 24, "w": 168}
MOST_HOURS = 100 * 366 * 24
Run = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="palate", description="Preference tuning of language models, self-hosted.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    _serving(commands)
    _training(commands)
    _operating(commands)
    return root


def _command(commands: Commands, name: str, run: str, help: str, *, home: bool = True) -> argparse.ArgumentParser:
    """`run` is module:function of cli."""

    def start(arguments: argparse.Namespace) -> int:
        module, _, function = run.partition(":")
        found: Run = getattr(import_module(f"cli.{module}"), function)
        return found(arguments)

    made = commands.add_parser(name, help=help, description=help)
    made.set_defaults(run=start)
    if home:
        add_home(made)
    return made


def _group(commands: Commands, name: str, help: str) -> Commands:
    return commands.add_parser(name, help=help, description=help).add_subparsers(required=True, metavar="COMMAND")


def _serving(commands: Commands) -> None:
    up = _command(commands, "up", "up:run", "run the whole service here, its data in one folder, until Ctrl-C")
    up.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    up.add_argument("--port", type=_port, default=0, help="0, the default: a free one, the same at each start")
    _command(commands, "migrate", "access:migrate", "bring the database's schema to this version")


def _training(commands: Commands) -> None:
    check = _command(commands, "check", "check_command:run", "check a file of preference data, offline", home=False)
    check.add_argument("file", type=Path)
    check.add_argument("--validation", type=Path, metavar="HELD_OUT", help="do its prompts stand in the file?")
    check.add_argument("--json", action="store_true", help="the report as JSON")
    check.add_argument("--format", help="the layout of the rows, instead of finding it")
    add_layout(check)
    check.add_argument("--on-error", choices=["fail", "skip"], default="fail", help="what malformed rows do")
    check.add_argument("--max-bad-fraction", type=float, default=0.0, help="how many of them skip may leave out")
    check.add_argument("--html", type=Path, metavar="OUT", help="the report as a page, into this file")
    clean = _command(
        commands,
        "clean",
        "clean:run",
        "a new file without the rows that are named, and a record of what went",
        home=False,
    )
    clean.add_argument("file", type=Path)
    clean.add_argument("--drop", default="", metavar="WHAT,…", help="duplicates, contradictions, identical, …")
    clean.add_argument("--lines", default="", metavar="N,N-M,…", help="what stands on these lines")
    clean.add_argument(
        "--suspects",
        type=Path,
        metavar="REPORT",
        help="the suspected flips of a report that a job has added to (GET /v1/files/FILE/report?job=JOB)",
    )
    clean.add_argument(
        "--out", type=Path, required=True, metavar="NEW", help="written with NEW.removed.jsonl beside it"
    )
    clean.add_argument("--format", help="of the file, where it is not found by itself")
    add_layout(clean)
    train = _command(commands, "train", "train:run", "upload a file, check it, and train a model on it")
    train.add_argument("--watch", action="store_true", help="follow the job to its end")
    add_training(train)
    plan = _command(
        commands, "plan", "plan:run", "what that training would take: settings, memory, time; no job is made"
    )
    plan.add_argument("--json", action="store_true", help="the plan as JSON")
    add_training(plan)
    preview = _command(
        commands, "preview", "preview:run", "records as the trainer will see them: tokens, what the loss counts, cuts"
    )
    preview.add_argument("file", help="a file of preference data, or the id of one that is there already")
    preview.add_argument("--model", required=True)
    preview.add_argument("--limit", type=int, default=10, choices=range(1, 21), metavar="N", help="records (10)")
    preview.add_argument("--json", action="store_true", help="token ids and masks as JSON")
    preview.add_argument("--html", type=Path, metavar="OUT", help="as a page, into this file")
    add_reading(preview)
    watch = _command(commands, "watch", "watch:run", "follow a job to its end")
    watch.add_argument("job")
    for verb, does in (("pause", "leave a resume point and free the slots"), ("resume", "go on"), ("cancel", "stop")):
        _command(commands, verb, f"verbs:{verb}", f"{verb} a job: {does}").add_argument("job")
    pull = _command(commands, "pull", "pull:run", "download every file of a model, verified")
    pull.add_argument("model")
    pull.add_argument("dir", type=Path)


def _operating(commands: Commands) -> None:
    models = _group(commands, "models", "base models (operator)")
    add = _command(models, "add", "base_models:add", "check a model and store it under a name")
    add.add_argument("name")
    add.add_argument("dir", type=Path, metavar="FOLDER", help="of safetensors and a tokenizer; or one GGUF file")
    add.add_argument("--adapter", type=Path, metavar="FOLDER", help="a LoRA adapter, merged into the model in fp32")
    add.add_argument("--chat-template", type=Path, metavar="FILE", help="used instead of the folder's own")
    add.add_argument("--project", help="visible to this project only")
    _command(models, "list", "base_models:page", "every revision of every base model")

    keys = _group(commands, "keys", "API keys (operator)")
    create = _command(keys, "create", "access:create_key", "make a key and print it, once")
    create.add_argument("--project", default="default")
    create.add_argument("--name", help="what it is for")
    create.add_argument("--expires", type=_age, metavar="AGE", help="refused from then on: 12h, 30d, 8w (never)")
    _command(keys, "list", "access:list_keys", "keys without their secrets").add_argument("--project")
    _command(keys, "revoke", "access:revoke_key", "refuse a key from now on").add_argument("id", help="see `keys list`")

    projects = _group(commands, "projects", "projects (operator)")
    _command(projects, "create", "access:create_project", "make a project").add_argument("name")
    _command(projects, "list", "access:list_projects", "every project")
    limit = _command(projects, "limit", "access:limit_project", "how many jobs of a project may run and wait; 0: any")
    limit.add_argument("name")
    limit.add_argument("--max-running", type=_count, metavar="N")
    limit.add_argument("--max-queued", type=_count, metavar="N")

    _command(commands, "nodes", "nodes:page", "worker nodes: slots, in use, when last heard of")
    drain = _command(commands, "drain", "nodes:drain", "a node takes nothing more; what runs there goes on elsewhere")
    drain.add_argument("node")
    drain.add_argument("--off", action="store_true", help="it takes work again")
    drain.add_argument("--wait", action="store_true", help="until nothing runs there")

    doctor = _command(commands, "doctor", "doctor:run", "what must hold, checked on the live service; changes nothing")
    doctor.add_argument("--read", action="store_true", help="read every object and compare its sha256")
    doctor.add_argument("--json", action="store_true", help="what is broken as JSON")


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 31:
        raise argparse.ArgumentTypeError("a number of jobs is 0 or more")
    return number


def _age(text: str) -> timedelta:
    match = AGE.fullmatch(text)
    if not match or not 0 < (hours := int(match[1]) * HOURS[match[2]]) < MOST_HOURS:
        raise argparse.ArgumentTypeError("an age is a number of hours, days or weeks, up to 100 years: 12h, 30d, 8w")
    return timedelta(hours=hours)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError("a port is from 0 to 65535")
    return number
