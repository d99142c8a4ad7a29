"""LoRA's forward: base and adapter are summed in fp32 and rounded once, W x + B (A x scaling).

PEFT adds B A x to a W x that is rounded already: in bf16 what is smaller than half a unit of W x never arrives. The
base model alone goes through the same sum, with zeros, so that a fresh adapter changes no bit.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def install(layer: Any, adapter: str) -> None:
    """Into PEFT's layer. Modules with a forward of their own keep PEFT's."""
    from transformers.pytorch_utils import Conv1D

    base = layer.base_layer
    if type(base).forward not in (nn.Linear.forward, Conv1D.forward):
        return
    # Through the modules themselves, so that ZeRO-3 gathers what each of them holds.
    base.forward = partial(summed, base, isinstance(base, Conv1D))
    layer.forward = partial(forward, layer, adapter)


def forward(layer: Any, adapter: str, x: Tensor) -> Tensor:
    """x [..., in] -> [..., out]"""
    if layer.disable_adapters:
        change = x.new_zeros(*x.shape[:-1], layer.out_features)
    else:
        inner = layer.lora_A[adapter](layer.lora_dropout[adapter](x))
        change = layer.lora_B[adapter](inner * layer.scaling[adapter])
    found: Tensor = layer.base_layer(x, change)
    return found


def summed(base: Any, conv: bool, x: Tensor, change: Tensor) -> Tensor:
    found: Tensor = Summed.apply(x, change, base.weight, conv)  # type: ignore[no-untyped-call]
    return found if base.bias is None else found + base.bias


class Summed(torch.autograd.Function):
    """change + x W^T, or change + x W where `conv`. W is frozen; it is kept as the parameter that it is, not copied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Tensor, weight: Tensor, conv: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.conv = conv
        matrix = weight if conv else weight.t()
        return torch.addmm(change.flatten(0, -2), x.flatten(0, -2), matrix).view(change.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        gradient = gradients[0]
        to_x = gradient @ (weight.t() if ctx.conv else weight) if ctx.needs_input_grad[0] else None
        return to_x, gradient, None, None
