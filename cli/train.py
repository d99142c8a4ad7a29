"""`palate train FILE --model NAME`: uploads, waits for the checks, creates the job."""

import argparse
import json
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from cli import early, watch
from cli.bar import moving
from cli.service import Service
from core.contract.errors import BadData, BadInput
from preferences.mapping import from_words, parse_mapping

CHECK_SECONDS = 0.25
SHOWN = 20
# Flags that are settings of the training itself, by the name that the API gives them.
HYPERPARAMETERS: dict[str, type] = {
    "n_epochs": int,
    "batch_size": int,
    "learning_rate": float,
    "loss": str,
    "beta": float,
    "nll_weight": float,
    "label_smoothing": float,
    "margin_weight": float,
    "simpo_gamma_ratio": float,
    "ld_alpha": float,
    "dpop_lambda": float,
    "orpo_lambda": float,
    "desirable_weight": float,
    "undesirable_weight": float,
    "max_steps": int,
    "max_length": int,
    "warmup_ratio": float,
    "weight_decay": float,
    "lr_schedule": str,
    "truncation": str,
    "precision": str,
}


def run(arguments: argparse.Namespace) -> int:
    with Service.of(arguments.home) as service:
        body = asked(service, arguments)
        job = service.post("/fine_tuning/jobs", json=body, headers={"idempotency-key": uuid.uuid4().hex})
        print(job["id"], flush=True)
        return watch.follow(service, job) if arguments.watch else 0


def asked(service: Service, arguments: argparse.Namespace) -> dict[str, Any]:
    """The body of the job, its files uploaded and checked."""
    suits_upload(arguments, arguments.file, arguments.validation)
    training = usable(service, arguments.file, arguments)
    validation = usable(service, arguments.validation, arguments) if arguments.validation else None
    return request(arguments, training, validation)


def request(arguments: argparse.Namespace, training: str, validation: str | None) -> dict[str, Any]:
    """The body of the job; what was not asked for stays out, and is the service's to decide."""
    options = {
        "resources": {"gpus": arguments.gpus} if arguments.gpus else None,
        "probe_prompts": arguments.probe,
        "checkpoint": {"every_steps": arguments.checkpoint_steps} if arguments.checkpoint_steps else None,
        "eval": {"every_steps": arguments.eval_steps} if arguments.eval_steps else None,
        "export": arguments.export,
        "max_runtime_seconds": arguments.max_runtime,
        "accept": arguments.accept,
    }
    hyperparameters = {name: getattr(arguments, name) for name in HYPERPARAMETERS} | {"lora": lora(arguments)}
    body = {
        "model": arguments.model,
        "training_file": training,
        "validation_file": validation,
        "suffix": arguments.suffix,
        "seed": arguments.seed,
        "method": {"type": "dpo", "dpo": {"hyperparameters": given(hyperparameters)}},
        "palate": given(options) or None,
    }
    return given(body)


def lora(arguments: argparse.Namespace) -> dict[str, Any] | None:
    if arguments.lora is None and not arguments.target_modules:
        return None
    return given({"r": arguments.lora or "auto", "target_modules": arguments.target_modules})


def given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def suits_upload(arguments: argparse.Namespace, *named: str | None) -> None:
    """Raises BadInput for flags of reading where nothing is uploaded: a stored file is what it was read as."""
    flags = {"--format": arguments.format, "--mapping": arguments.mapping, "--raw-text": arguments.raw_text}
    asked = [flag for flag, value in flags.items() if value]
    if asked and all(each.startswith("file-") and not Path(each).is_file() for each in named if each):
        raise BadInput(
            f"{named[0]} is stored already, read as it was uploaded: leave {', '.join(asked)} out, or upload a file."
        )


def usable(service: Service, named: str, arguments: argparse.Namespace) -> str:
    """The id of a file whose checks it has passed: `named` is a path, or the id of a file that is there already."""
    path = Path(named)
    if path.is_file():
        file = upload(service, path, arguments)
    elif named.startswith("file-"):
        file = service.get(f"/files/{named}")
    else:
        raise BadInput(f"There is no file {named}.")
    while file["status"] == "uploaded":
        time.sleep(CHECK_SECONDS)
        file = service.get(f"/files/{file['id']}")
    if file["status"] == "error":
        raise BadData(findings(service, file))
    print(f"{named}: {file['id']}, {file['status_details'] or 'checked'}", flush=True)
    return str(file["id"])


def upload(service: Service, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    fields = {"purpose": "fine-tune"}
    format = None if arguments.format == "auto" else arguments.format
    mapping = parse_mapping(from_words(arguments.mapping)) if arguments.mapping else None
    if format:
        fields["palate[format]"] = format
    if mapping:
        fields["palate[mapping]"] = json.dumps(mapping.fields)
    if arguments.raw_text:
        fields["palate[raw_text]"] = "true"
    if arguments.skip_bad_rows:
        fields |= {"palate[on_error]": "skip", "palate[max_bad_fraction]": "1"}
    try:
        size = path.stat().st_size
        layout = early.Layout(format, mapping.fields if mapping else None, arguments.raw_text)
        large = size >= early.FROM_BYTES
        beside = early.reading(path, layout, skip=arguments.skip_bad_rows) if large else nullcontext()
        with path.open("rb") as stream, moving(path.name, size) as moved, beside as reader:
            try:
                files = {"file": (path.name, Counted(stream, moved, reader))}
                return service.post("/files", data=fields, files=files)
            except early.Doomed:
                assert reader is not None
                raise reader.verdict(path) from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}.") from error


class Counted:
    """A stream that tells how much of it was read, and breaks off (early.Doomed) where it need not be sent.

    httpx reads it in pieces.
    """

    def __init__(self, stream: BinaryIO, moved: Callable[[int], None], reader: early.Reader | None) -> None:
        self._stream = stream
        self._moved = moved
        self._reader = reader

    def read(self, size: int = -1) -> bytes:
        if self._reader is not None and self._reader.doomed:
            raise early.Doomed
        chunk = self._stream.read(size)
        self._moved(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def findings(service: Service, file: dict[str, Any]) -> str:
    """What the checks say, the first bad lines with it."""
    lines = [f"{file['filename']} was refused: {file['status_details']}"]
    page = service.get(f"/files/{file['id']}/errors", limit=SHOWN)
    for each in page["data"]:
        place = f"line {each['line']}" if each["line"] is not None else "the file"
        lines.append(f"  {place}: {each['code']}: {each['message']}")
    if page["has_more"]:
        lines.append(f"  … the rest: GET /v1/files/{file['id']}/errors, or `palate check`")
    return "\n".join(lines)
