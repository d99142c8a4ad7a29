"""Exporting as safetensors: the whole model, the adapter, or both; all ranks gather, rank r writes every r-th shard.

The files depend on the weights and the base model's configuration alone. They are written in the background, in
portions of a quarter of a shard while the next is gathered: extra memory is one shard and the largest tensor twice.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from core.contract.run_spec import RunSpec
from trainer import folder as model_folder
from trainer import parts
from trainer.engine import Engine
from trainer.model import DTYPES
from trainer.parts import Part
from trainer.safetensors_file import BASE_DIGEST, append, digest, header, raw
from trainer.world import World

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


class Background(Protocol):
    """One thread that runs jobs in order (trainer.background)."""

    def submit(self, job: Callable[[], None], held: int = 0) -> None: ...


def adapter_folder(spec: RunSpec, target: Path) -> Path:
    return target / "adapter" if "model" in spec.export else target


def export(
    engine: Engine,
    world: World,
    spec: RunSpec,
    target: Path,
    background: Background,
    tick: Callable[[int, int], None],
    digests: dict[str, list[str]] | None = None,
) -> list[Path]:
    """Into the empty folder `target`. Returns what this rank writes: there once `background` has done its jobs, and so
    are `digests`: by file, of each tensor as it was made (trainer.proof).
    """
    dtype = DTYPES[spec.settings.precision]
    model = parts.of_model(engine.model, dtype, spec.seed) if "model" in spec.export else []
    adapter = parts.of_adapter(engine.model, dtype) if "adapter" in spec.export else []
    stream = Stream(engine, world, background, spec.shard_bytes, len(model) + len(adapter), tick, target, digests)
    files: list[Path] = []
    if model:
        plan = shards(model, spec.shard_bytes)
        if world.leads:
            texts = model_texts(spec.model_dir, plan, dtype)
            files += accompany(background, target, texts, spec.model_dir, model_folder.COMPANIONS)
        files += stream.write(plan, [target / shard_name(number, len(plan)) for number in range(1, len(plan) + 1)])
    if adapter and engine.adapter:
        folder = adapter_folder(spec, target)
        if world.leads:
            texts = {ADAPTER_CONFIG: adapter_config(engine.adapter.to_dict(), spec)}  # type: ignore[no-untyped-call]
            files += accompany(background, folder, texts, spec.model_dir, () if model else model_folder.TOKENIZER)
        files += stream.write([adapter], [folder / ADAPTER], {BASE_DIGEST: spec.model_digest})
    return files


def shards(found: Sequence[Part], limit: int) -> list[list[Part]]:
    """In order, cut where the next part would take a shard over `limit` bytes; each holds at least one."""
    plan: list[list[Part]] = [[]]
    used = 0
    for part in found:
        if plan[-1] and used + part.bytes > limit:
            plan.append([])
            used = 0
        plan[-1].append(part)
        used += part.bytes
    return plan


def shard_name(number: int, count: int) -> str:
    return model_folder.SINGLE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


class Stream:
    """Gathers part after part on every rank; the rank that writes a shard copies them and hands them on in portions."""

    def __init__(
        self,
        engine: Engine,
        world: World,
        background: Background,
        limit: int,
        total: int,
        tick: Callable[[int, int], None],
        target: Path,
        digests: dict[str, list[str]] | None,
    ) -> None:
        self.target, self.digests = target, digests
        self.engine, self.world, self.background, self.tick = engine, world, background, tick
        self.room, self.done, self.total = limit // 4, 0, total

    def write(
        self, plan: Sequence[Sequence[Part]], paths: Sequence[Path], about: Mapping[str, str] | None = None
    ) -> list[Path]:
        """Returns this rank's files."""
        for number, (shard, path) in enumerate(zip(plan, paths, strict=True)):
            self.write_shard(shard, path, about or {}, mine=number % self.world.size == self.world.rank)
        return list(paths[self.world.rank :: self.world.size])

    def write_shard(self, shard: Sequence[Part], path: Path, about: Mapping[str, str], mine: bool) -> None:
        entries = [entry for part in shard for entry in part.entries]
        portion: list[bytes | Tensor] = [header(entries, about)] if mine else []
        held = 0
        for part in shard:
            with self.engine.whole(*part.gathered) as tensors:
                made = part.make(tensors) if mine else {}
                # What was made may be a view of what is let go here.
                portion += [made[entry.name].to("cpu", copy=True).contiguous() for entry in part.entries if mine]
            held += part.bytes
            if mine and held >= self.room:
                portion, held = self.hand_on(path, portion, held), 0
            self.done += 1
            self.tick(self.done, self.total)
        if portion:
            self.hand_on(path, portion, held)

    def hand_on(self, path: Path, portion: list[bytes | Tensor], held: int) -> list[bytes | Tensor]:
        """Waits only where too much waits already (trainer.background). Returns an empty portion."""
        self.background.submit(partial(self.put, path, portion), held)
        return []

    def put(self, path: Path, portion: list[bytes | Tensor]) -> None:
        if self.digests is not None:
            told = self.digests.setdefault(path.relative_to(self.target).as_posix(), [])
            told += [digest(raw(piece)) for piece in portion if isinstance(piece, Tensor)]
        append(path, portion)


def model_texts(base: Path, plan: list[list[Part]], dtype: torch.dtype) -> dict[str, dict[str, object]]:
    """config.json is the base model's own (dropout and all) but for the dtype."""
    config = model_folder.config(base)
    config.pop("torch_dtype", None)
    files: dict[str, dict[str, object]] = {"config.json": {**config, "dtype": str(dtype).removeprefix("torch.")}}
    if len(plan) > 1:
        entries = [(shard_name(i, len(plan)), e) for i, shard in enumerate(plan, 1) for p in shard for e in p.entries]
        files[model_folder.INDEX] = {
            "metadata": {"total_size": sum(entry.bytes for _, entry in entries)},
            "weight_map": {entry.name: path for path, entry in entries},
        }
    return files


def adapter_config(config: dict[str, object], spec: RunSpec) -> dict[str, object]:
    """As PEFT writes it. The base is named as Palate knows it: a path of this machine says nothing elsewhere."""
    found = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return {**found, "base_model_name_or_path": spec.model_name, "inference_mode": True}


def accompany(
    background: Background, target: Path, texts: dict[str, dict[str, object]], base: Path, names: Sequence[str]
) -> list[Path]:
    """JSON files, and those of `names` that the base model has, unchanged."""
    copied = [name for name in names if (base / name).is_file()]

    def write() -> None:
        target.mkdir(exist_ok=True)
        for name, content in texts.items():
            (target / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
        for name in copied:
            shutil.copyfile(base / name, target / name)

    background.submit(write)
    return [target / name for name in (*texts, *copied)]
