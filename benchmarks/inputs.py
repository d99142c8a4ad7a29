"""What is measured with: preference pairs decided by a seed, a tiny model, files that no one can compress."""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import live

from core.contract import manifest as manifests
from core.db import models
from core.db.engine import transaction
from core.objects import keys
from planning import model_folder
from tests.models import WORDS, make_tiny_model

CHECK_SECONDS = 900.0


def pairs(path: Path, *, seed: int, count: int | None = None, size: int | None = None, words: int = 10) -> Path:
    """JSON lines of prompt, chosen, rejected: `count` of them, or as many as `size` bytes hold."""
    draw = random.Random(seed)
    pool = [" ".join(draw.choices(WORDS, k=words)) for _ in range(2_000)]
    written = number = 0
    with path.open("w") as stream:
        while number < count if count is not None else written < (size or 0):
            prompt, chosen, rejected = draw.sample(pool, 3)
            row = {"prompt": f"{number} {prompt}", "chosen": f"{chosen} good", "rejected": f"{rejected} bad"}
            written += stream.write(json.dumps(row) + "\n")
            number += 1
    return path


def noise(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        for _ in range(size // live.MIB):
            stream.write(os.urandom(live.MIB))
    return path


def tiny_model(service: live.Service, name: str, folder: Path, *, known: bool = False) -> None:
    """Made, stored and listed for every project; `known`: with what `palate models add` notes of its weights."""
    make_tiny_model(folder)
    facts = model_folder.check(folder).model_dump() if known else {}
    manifest = manifests.build(folder)
    prefix = keys.model(manifest.digest())
    service.store().upload_folder(folder, manifest, prefix)
    with service.database(), transaction() as session:
        models.add_base(session, name=name, digest=manifest.digest(), prefix=prefix, manifest=manifest, facts=facts)


def upload(client: httpx.Client, path: Path) -> str:
    """The file's id; its checks have only begun."""
    with path.open("rb") as stream:
        answer = client.post("/files", data={"purpose": "fine-tune"}, files={"file": (path.name, stream)})
    return str(answer.raise_for_status().json()["id"])


def look(client: httpx.Client, file_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/files/{file_id}").raise_for_status().json()
    return found


def checked(client: httpx.Client, file_id: str, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """The file when its checks are over, whatever they found; `meanwhile` is called twenty times a second."""
    deadline = time.monotonic() + CHECK_SECONDS
    while (file := look(client, file_id))["status"] == "uploaded":
        if time.monotonic() > deadline:
            raise SystemExit(f"{file_id} was not checked within {CHECK_SECONDS:.0f} s")
        meanwhile()
        time.sleep(0.05)
    return file
