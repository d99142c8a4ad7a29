"""The parts' passwords and keys: made once, kept in the home in a file that only its owner reads."""

import json
import secrets
from pathlib import Path

from local.private import write_private

# Of the store's servers among each other, as SeaweedFS names them.
SIGNING = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
NAMES = ("postgres", "postgres_service", "valkey", "access_key", "secret_key", *SIGNING)


def load(file: Path) -> dict[str, str]:
    """Those of the home; made at the first call, and what an earlier release did not know is added."""
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    missing = {name: secrets.token_hex(20) for name in NAMES if name not in kept}
    if missing:
        kept |= missing
        write_private(file, json.dumps(kept))
    return kept
