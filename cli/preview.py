"""`palate preview FILE_OR_ID --model NAME`: records as the trainer will see them, each token by what becomes of it."""

import argparse
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from cli import train
from cli.service import Service
from core.contract.errors import BadInput, Unavailable
from core.contract.preview import Preview, Tokens
from preferences.page.preview import page
from preferences.report import FileError
from preferences.tally import printable

AGAIN_SECONDS = 0.5
PATIENCE_SECONDS = 1_800.0
COUNTED, SEEN, CUT = "black on green", "dim", "white on red strike"
Json = dict[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """0, also where records fall out: that is what is shown; 1 where the model can be trained on none."""
    train.suits_upload(arguments, arguments.file)
    with Service.of(arguments.home) as service:
        with redirect_stdout(sys.stderr):  # what is printed here may be read by a program
            file_id = train.usable(service, arguments.file, arguments)
        found = wanted(service, file_id, arguments.model, arguments.limit)
    error = FileError.model_validate(found["error"]) if found["error"] else None
    if error:
        print(f"palate: {printable(error.message)} ({error.code})", file=sys.stderr)
    show(found, error, arguments)
    return 1 if error else 0


def show(found: Json, error: FileError | None, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    previews = [Preview.model_validate(each) for each in found["data"]]
    if arguments.html is not None:
        write(arguments.html, page(arguments.file, arguments.model, found["max_length"], previews, error))
        return
    if not previews:
        return
    console = Console(highlight=False)
    console.print(
        Text.assemble(("counted by the loss", COUNTED), "  ", ("seen, not counted", SEEN), "  ", ("cut off", CUT))
    )
    for each in previews:
        draw(each, console)


def wanted(service: Service, file_id: str, model: str, limit: int) -> Json:
    """Waits while file and model are inspected."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = service.get(f"/files/{file_id}/preview", model=model, limit=limit)
        if found.get("status") != "computing":
            return found
        if time.monotonic() > deadline:
            raise Unavailable("The inspection of the file does not end; is a worker running?")
        time.sleep(AGAIN_SECONDS)


def draw(shown: Preview, console: Console) -> None:
    head = f"line {shown.line}: {len(shown.prompt.token_ids) + shown.prompt.hidden} tokens of prompt"
    fell = f"  left out: {printable(shown.problem)}" if shown.problem else ""
    console.print(Text.assemble("\n", (head, "bold"), (fell, "red")))
    if shown.message:
        console.print(Text(printable(shown.message), "red"))
    for note in shown.notes:
        console.print(Text(printable(note), "yellow"))
    if shown.cut is not None:
        console.print(Text.assemble(("cut ", "red"), pieces(shown.cut, CUT)))
    console.print(pieces(shown.prompt))
    for said in shown.answers:
        count = len(said.token_ids) + said.hidden
        console.print(Text(f"{said.name}: {count} tokens, {sum(said.mask)} counted", "bold"))
        console.print(pieces(said, over=said.over))


def pieces(found: Tokens, style: str | None = None, *, over: int = 0) -> Text:
    text = Text()
    last, half = len(found.pieces) - over, len(found.pieces) // 2
    for number, (piece, bit) in enumerate(zip(found.pieces, found.mask, strict=True)):
        if found.hidden and number == half:
            text.append(f" … {found.hidden} more … ", "italic")
        shown = "".join(each if each == "\n" or each.isprintable() else "·" for each in piece)
        text.append(shown, style or (CUT if number >= last else COUNTED if bit else SEEN))
    return text


def write(path: Path, html: str) -> None:
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}.") from error
    print(f"palate: the preview is in {path}", file=sys.stderr)
