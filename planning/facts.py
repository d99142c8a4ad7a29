"""What planning knows of a model: read from its configuration and the headers of its weights."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from planning.tensors import Tensor

CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
# The context of a model that has no end of it: the largest max_length of a job.
UNLIMITED = 1_048_576
HIDDEN = ("hidden_size", "n_embd", "d_model")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
INNER = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
ATTENTION = ("num_attention_heads", "n_head", "n_heads")
HEADS = (*ATTENTION, "num_heads")
NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Matrix(BaseModel):
    """The weights of `count` layers of one kind: `name` of the module, layer numbers as `*`; elements of one.

    `numbers`: of the layers, where the name has one `*`; empty where it was stored without them.
    """

    name: str
    rows: int
    columns: int
    count: int
    numbers: list[int] = []

    @property
    def size(self) -> int:
        return self.rows * self.columns


class ModelFacts(BaseModel):
    """What planning needs: `parameters` as stored (tied weights once), `dtype` of most of them, lengths in tokens.

    `matrices` are those of the files. `linear`: the layers that LoRA can go into, as the trainer builds the model
    (trainer.check), which may put many of the files' matrices into one; None where it was stored without them.
    `experts`: elements of experts that no linear layer holds, so that LoRA leaves them as they are.
    """

    parameters: int
    dtype: str
    architecture: str
    context_length: int
    vocab_size: int | None
    hidden_size: int | None
    layers: int | None
    intermediate_size: int | None = None
    heads: int | None = None
    matrices: list[Matrix] = []
    linear: list[Matrix] | None = None
    experts: int = 0


class Fault(BaseModel):
    code: str
    message: str


class Built(BaseModel):
    """What `python -m trainer check` says of a folder; `linear` and `experts` as in ModelFacts."""

    faults: list[Fault] = []
    linear: list[Matrix] | None = None
    experts: int = 0


def known(stored: dict[str, Any]) -> ModelFacts | None:
    """Of a model's row; None where it was stored without them."""
    try:
        return ModelFacts.model_validate(stored)
    except ValidationError:
        return None


def facts(config: dict[str, Any], found: list[Tensor]) -> ModelFacts | None:
    """None where the configuration names no context length, without which nothing can be planned."""

    def first(*keys: str) -> int | None:
        return number(config, keys)

    context = context_length(config)
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
        intermediate_size=first(*INNER),
        heads=first(*HEADS),
        matrices=matrices(found),
    )


def context_length(config: dict[str, Any]) -> int | None:
    """In tokens. A recurrent model (Mamba: layers, but no attention heads; or so named by layer) has no limit."""
    named = number(config, CONTEXT)
    if named is not None:
        return named
    stateful = number(config, LAYERS) and not number(config, ATTENTION)
    return UNLIMITED if stateful or "recurrent" in str(config.get("block_types")) else None


def number(config: dict[str, Any], keys: Sequence[str]) -> int | None:
    """The first of these keys that names a size, of the model or of its text half."""
    inner = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    values = [holder.get(key) for key in keys for holder in (config, inner or {})]
    return next((value for value in values if type(value) is int and value > 0), None)


def matrices(found: list[Tensor]) -> list[Matrix]:
    """Every two-dimensional weight, those of like layers together; what is no linear layer has two dimensions too."""
    return alike(
        (tensor.name.removesuffix(".weight"), (tensor.shape[0], tensor.shape[1]))
        for tensor in found
        if len(tensor.shape) == 2 and tensor.name.endswith(".weight")
    )


def alike(layers: Iterable[tuple[str, tuple[int, int]]]) -> list[Matrix]:
    """Layers by name and (rows, columns), those that differ in their layer's number alone together."""
    kinds: dict[tuple[str, tuple[int, int]], list[list[int]]] = {}
    for name, shape in layers:
        numbers = [int(each) for each in NUMBER.findall(name)]
        kinds.setdefault((NUMBER.sub("*", name), shape), []).append(numbers)
    return [
        Matrix(
            name=name,
            rows=shape[0],
            columns=shape[1],
            count=len(found),
            numbers=sorted(n for (n,) in found) if name.count("*") == 1 else [],
        )
        for (name, shape), found in sorted(kinds.items())
    ]
