"""Exporting the model as safetensors: one parameter at a time, a shard written before it would pass its limit.

The files depend on the weights and the base model's configuration alone. Extra memory: a shard and the largest tensor.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from trainer import folder as model_folder
from trainer.engine import Engine, numel
from trainer.model import DTYPES
from trainer.world import World


def shards(sizes: dict[str, int], limit: int) -> list[list[str]]:
    """Names in order, cut where the next tensor would take a shard over `limit` bytes; each holds at least one."""
    found: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        if found[-1] and used + size > limit:
            found.append([])
            used = 0
        found[-1].append(name)
        used += size
    return found


def shard_name(number: int, count: int) -> str:
    return model_folder.SINGLE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def export(
    engine: Engine,
    world: World,
    base: Path,
    target: Path,
    precision: str,
    shard_bytes: int,
    tick: Callable[[int, int], None],
) -> None:
    """Into the empty folder `target`, written by rank 0; all ranks gather. Tied weights come once."""
    dtype = DTYPES[precision]
    sizes = {name: count * dtype.itemsize for name, count in element_counts(engine).items()}
    plan = shards(sizes, shard_bytes)
    tensors = weights(engine, world, dtype)
    done = 0
    for number, names in enumerate(plan, start=1):
        held: dict[str, Tensor] = {}
        for expected in names:
            name, tensor = next(tensors)
            assert name == expected
            if tensor is not None:
                held[name] = tensor
            done += 1
            tick(done, len(sizes))
        if world.leads:
            from safetensors.torch import save_file

            save_file(held, target / shard_name(number, len(plan)), {"format": "pt"})
    if world.leads:
        if len(plan) > 1:
            write_index(target, plan, sum(sizes.values()))
        write_companions(base, target, dtype)


def element_counts(engine: Engine) -> dict[str, int]:
    counts = {name: numel(parameter) for name, parameter in engine.model.named_parameters()}
    return {**counts, **{name: buffer.numel() for name, buffer in persistent_buffers(engine)}}


def weights(engine: Engine, world: World, dtype: torch.dtype) -> Iterator[tuple[str, Tensor | None]]:
    """(name, whole tensor on the CPU), None but on rank 0."""
    for name, parameter in engine.model.named_parameters():
        with engine.whole(parameter) as tensor:
            copy = tensor.to("cpu", dtype, copy=True).contiguous() if world.leads else None
        yield name, copy
    for name, buffer in persistent_buffers(engine):
        yield name, buffer.detach().to("cpu", copy=True).contiguous() if world.leads else None


def persistent_buffers(engine: Engine) -> Iterator[tuple[str, Tensor]]:
    """Buffers that belong to the weights; the others are computed anew by the model's code."""
    for prefix, module in engine.model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}" if prefix else name, buffer


def write_index(target: Path, plan: list[list[str]], total: int) -> None:
    where = {name: shard_name(i, len(plan)) for i, names in enumerate(plan, start=1) for name in names}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    (target / model_folder.INDEX).write_text(json.dumps(index, indent=2) + "\n")


def write_companions(base: Path, target: Path, dtype: torch.dtype) -> None:
    """config.json is the base model's own (dropout and all) but for the dtype; the rest is copied."""
    config = model_folder.config(base)
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    (target / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in model_folder.COMPANIONS:
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)
