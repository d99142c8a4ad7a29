"""JSON files of a model's folder."""

import json
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel

LARGEST = 256 << 20
# Deeper than any model's; the parsers of tokenizers and transformers end not far above.
DEEPEST = 100
# Settings by which transformers would run or load something else than the files beside them.
FOREIGN = (
    "auto_map",
    "custom_pipelines",
    "base_model_name_or_path",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
    "use_kernels",
    "kernel_config",
)


def read_json(path: Path, code: str = "config_invalid") -> Any:
    """As transformers reads it: UTF-8 without a mark before it. Raises BadModel."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise BadModel(f"{path} has {size:,} bytes, more than any JSON file of a model.", code=code)
        found = json.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path} is not JSON: {error}. Copy or download it again.", code=code) from None
    if depth(found) > DEEPEST:
        raise BadModel(f"{path} nests deeper than {DEEPEST} levels; copy or download it again.", code=code)
    return found


def depth(value: Any) -> int:
    """Of lists and objects within each other; counted without recursion, and no further than DEEPEST + 1."""
    level, found = [value], 0
    while found <= DEEPEST:
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            break
        found += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return found


def without(value: Any, *keys: str) -> Any:
    """A copy in which no object has these keys, at any depth."""
    if isinstance(value, dict):
        return {name: without(each, *keys) for name, each in value.items() if name not in keys}
    return [without(each, *keys) for each in value] if isinstance(value, list) else value


def mentions(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(mentions(each, key) for each in value.values())
    return isinstance(value, list) and any(mentions(each, key) for each in value)
