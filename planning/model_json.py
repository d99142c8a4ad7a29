"""JSON files of a model's folder."""

import json
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel


def read_json(path: Path, code: str = "config_invalid") -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path} is not JSON: {error}. Copy or download it again.", code=code) from None
