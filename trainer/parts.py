"""What an export is made of, part by part: the parameters to gather, and the tensors that come out of them.

Of a whole model: LoRA merged, tied weights once, under the names of published checkpoints (transformers keeps the
experts of a layer as one parameter, the files hold each by itself). Of an adapter: A and B under PEFT's names.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainer import lora
from trainer.rounding import Draws, rounded
from trainer.safetensors_file import Entry

Make = Callable[[Sequence[Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Part:
    """`make` takes the gathered tensors to those of `entries`; it runs on the rank alone that writes them. `exact`: the
    same before they are rounded.
    """

    gathered: tuple[Tensor, ...]
    entries: tuple[Entry, ...]
    make: Make
    exact: Make

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.entries)


def of_model(model: nn.Module, dtype: torch.dtype, seed: int) -> list[Part]:
    """`seed`: of the run. What becomes narrower is rounded by it (trainer.rounding), the same each time."""
    adapted = dict(lora.layers(model))
    published = names_of_files(model, adapted)
    found = []
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            continue
        path, _, leaf = name.rpartition(".base_layer.")
        layer = adapted.get(path)
        name = f"{path}.{leaf}" if layer else name
        if layer and leaf == "weight":
            sources = (parameter, layer.lora_A[lora.NAME].weight, layer.lora_B[lora.NAME].weight)
            found.append(part(sources, dtype, name, published, merge(layer), seed))
        else:
            found.append(part((parameter,), dtype, name, published, first, seed))
    for name, buffer in persistent_buffers(model):
        found.append(part((buffer,), buffer.dtype, name, published, first))
    # Wider types first: safetensors_file.
    return sorted(found, key=lambda p: -p.entries[0].dtype.itemsize)


def of_adapter(model: nn.Module, dtype: torch.dtype) -> list[Part]:
    found = []
    for path, layer in lora.layers(model):
        for matrix in ("lora_A", "lora_B"):
            name = f"base_model.model.{path}.{matrix}.weight"
            found.append(part((getattr(layer, matrix)[lora.NAME].weight,), dtype, name, as_they_are, first))
    return found


def part(
    sources: tuple[Tensor, ...],
    dtype: torch.dtype,
    name: str,
    published: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    compute: Callable[[Sequence[Tensor]], Tensor],
    seed: int = 0,
) -> Part:
    result = published({name: torch.empty(shape(sources[0]), dtype=dtype, device="meta")})
    entries = tuple(Entry(key, dtype, tuple(tensor.shape)) for key, tensor in result.items())
    draws = Draws((seed, name))
    return Part(
        sources,
        entries,
        make=lambda tensors: published({name: narrowed(compute(tensors), dtype, draws)}),
        exact=lambda tensors: published({name: compute(tensors)}),
    )


def narrowed(tensor: Tensor, dtype: torch.dtype, draws: Draws) -> Tensor:
    """To nearest, a merge in bf16 would keep 6 to 30 % of what was learned (docs/bf16.md)."""
    if (tensor.dtype, dtype) == (torch.float32, torch.bfloat16):
        return rounded(tensor, draws)
    return tensor.to(dtype)


def first(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0]


def merge(layer: Any) -> Callable[[Sequence[Tensor]], Tensor]:
    return lambda tensors: lora.merged(layer, *tensors)


def as_they_are(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


def names_of_files(model: nn.Module, adapted: dict[str, Any]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """From transformers' names in memory to those in published files, one tensor at a time.

    Where a file's tensor is made of several in memory, all keep their names in memory, which load as well.
    """
    from transformers.core_model_loading import revert_weight_conversion

    def published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = revert_weight_conversion(model, tensors)
        return found

    clean = {name.replace(".base_layer.", "."): p for name, p in model.named_parameters() if ".lora_" not in name}
    small = {name: torch.empty(shape(p), device="meta") for name, p in clean.items()}
    whole = {name: tensor.shape for name, tensor in published(dict(small)).items()}
    single = {key: t.shape for name, meta in small.items() for key, t in published({name: meta}).items()}
    return published if single == whole else as_they_are


def persistent_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers that belong to the weights; the others are computed anew by the model's code."""
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}" if prefix else name, buffer


def shape(tensor: Any) -> tuple[int, ...]:
    """Of the whole parameter; partitioned ones look empty."""
    return tuple(getattr(tensor, "ds_shape", tensor.shape))
