"""What planning knows of a model: read from its configuration and the headers of its weights."""

from collections import Counter
from typing import Any

from pydantic import BaseModel

from planning.tensors import Tensor

CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
HIDDEN = ("hidden_size", "n_embd", "d_model")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class ModelFacts(BaseModel):
    """What planning needs: `parameters` as stored (tied weights once), `dtype` of most of them, lengths in tokens."""

    parameters: int
    dtype: str
    architecture: str
    context_length: int
    vocab_size: int | None
    hidden_size: int | None
    layers: int | None


def facts(config: dict[str, Any], found: list[Tensor]) -> ModelFacts | None:
    """None where the configuration names no context length, without which nothing can be planned."""
    inner = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}

    def first(*keys: str) -> int | None:
        values = [holder.get(key) for key in keys for holder in (config, inner or {})]
        return next((value for value in values if type(value) is int and value > 0), None)

    context = first(*CONTEXT)
    if context is None:
        return None
    sizes: Counter[str] = Counter()
    for tensor in found:
        sizes[tensor.dtype] += tensor.size
    dtype = sizes.most_common(1)[0][0]
    return ModelFacts(
        parameters=sizes.total(),
        dtype=DTYPES.get(dtype, dtype.lower()),
        architecture=config["architectures"][0],
        context_length=context,
        vocab_size=first("vocab_size"),
        hidden_size=first(*HIDDEN),
        layers=first(*LAYERS),
    )
