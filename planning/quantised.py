"""Weights that were quantised: read from the names and types in their headers, and from what the configuration says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.contract.errors import BadModel
from planning.tensors import Tensor

KEY = "quantization_config"
INSTEAD = "take the checkpoint in full precision (BF16, F16 or F32) that it was made from"
FULL = {"F64", "F32", "F16", "BF16"}
# The last part of a tensor's name, as GPTQ, AWQ, bitsandbytes, compressed-tensors, ModelOpt, HQQ and AQLM write it.
PARTS = frozenset(
    "qweight qzeros g_idx SCB absmax quant_map nested_absmax nested_quant_map weight_packed weight_scale "
    "weight_scale_inv weight_scale_2 weight_zero_point weight_shape weight_format W_q W_q_packed codebooks codes "
    "_data _scale _qdata".split()
)
# Integers that a model in full precision keeps beside its weights: masks, positions, tables of experts.
BUFFERS = ("bias", "mask", "ids", "index", "tracked", "eid", "positions")


def fault(folder: Path, config: dict[str, Any], found: Sequence[Tensor]) -> BadModel | None:
    """Why these weights cannot be trained; also where only the configuration still speaks of a quantisation."""
    method = named(config)
    tensor = next((each for each in found if is_quantised(each)), None)
    if tensor is not None:
        return BadModel(
            f"{folder} holds quantised weights ({method or 'a packed type'}: {tensor.name} is {tensor.dtype}), which "
            f"cannot be trained; {INSTEAD}.",
            code="quantised_weights",
        )
    if method is not None:
        return BadModel(
            f"{folder / 'config.json'} has a `{KEY}` ({method}), but the weights beside it are in full precision: with "
            f"it they would be quantised as they are loaded. Remove `{KEY}` from that file to train them as they are.",
            code="quantised_weights",
        )
    return None


def named(config: dict[str, Any]) -> str | None:
    """The method that the configuration names, of the model or of a part of it."""
    for holder in (config, *(each for each in config.values() if isinstance(each, dict))):
        for key in (KEY, "compression_config"):
            if holder.get(key):
                told = holder[key]
                return str(told.get("quant_method") or "method not named") if isinstance(told, dict) else str(told)
    return None


def is_quantised(tensor: Tensor) -> bool:
    last = tensor.name.rpartition(".")[2]
    if tensor.dtype[:2] in ("F4", "F6", "F8") or last in PARTS or ".quant_state." in tensor.name:
        return True
    integer = tensor.dtype not in FULL and tensor.dtype not in ("BOOL", "C64") and len(tensor.shape) >= 2
    return integer and not last.endswith(BUFFERS)
