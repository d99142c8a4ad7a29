"""The embedded stack's passwords: made once, kept in the home in a file that only its owner reads."""

import json
import os
import secrets
from pathlib import Path

NAMES = ("postgres", "valkey", "access_key", "secret_key")


def load(file: Path) -> dict[str, str]:
    """Those of the home; made at the first call."""
    if file.exists():
        kept: dict[str, str] = json.loads(file.read_text())
        return kept
    fresh = {name: secrets.token_hex(20) for name in NAMES}
    write_private(file, json.dumps(fresh))
    return fresh


def write_private(file: Path, text: str) -> None:
    """Mode 0600 from the first byte on; the name appears when the content is there."""
    partial = file.with_name(file.name + ".tmp")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    partial.replace(file)
