"""The numbers of a configuration by which a model is built: of the right type, and of a size that a model can have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel
from planning.facts import CONTEXT, HEADS, HIDDEN, INNER, LAYERS

# Far above every model there is; what is larger would be built for hours, or not at all.
MOST = {
    **dict.fromkeys(CONTEXT, 1 << 27),
    **dict.fromkeys(HIDDEN, 1 << 20),
    **dict.fromkeys(LAYERS, 1_000),
    **dict.fromkeys(INNER, 1 << 24),
    **dict.fromkeys((*HEADS, "num_key_value_heads"), 1 << 16),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "n_shared_experts"), 4_096),
    "head_dim": 1 << 16,
    "vocab_size": 1 << 24,
}


def faults(path: Path, config: dict[str, Any]) -> Iterator[BadModel]:
    """Of config.json at `path`, and of the halves of a model with several."""
    for holder, part in [("", config), *((f"{name}.", each) for name, each in config.items())]:
        if isinstance(part, dict):
            for key, most in MOST.items():
                given = part.get(key)
                # A list has one number a layer.
                for value in given[:1_000] if isinstance(given, list) else [given]:
                    if value is not None and not (type(value) is int and 0 <= value <= most):
                        yield BadModel(
                            f"{path} cannot be used: `{holder}{key}` is {shown(value)}, where a model has a whole "
                            f"number from 0 to {most:,}; take the one that was saved with the model.",
                            code="config_invalid",
                        )
                        break


def shown(value: Any) -> str:
    """Its beginning, on one line."""
    return ascii(value if not isinstance(value, int) or abs(value) < 1 << 64 else "a number of many digits")[:60]
