"""Resume points: everything that decides the rest of the run, so that going on equals never having stopped.

In a sealed folder: state/ (DeepSpeed's shards: fp32 masters, moments), rank-N.safetensors (random state),
reference.safetensors, manifest.json (cursor, digests, versions). The shards are pickles: nothing is unpickled before
the manifest's digest is the one that the worker names, and each file's sha256 the one in the manifest.
"""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from core.contract import manifest
from core.contract.errors import BadInput, PalateError
from core.contract.manifest import Manifest, ManifestMismatch
from core.contract.run_spec import ResumeFrom, RunSpec, Settings
from core.disk import rename
from trainer import seal, seed, shards, universal
from trainer.background import Background
from trainer.emit import Emitter
from trainer.engine import Engine
from trainer.reference import Reference
from trainer.world import World

KEEP = 2
TAG = "state"
# A run goes on only as the run that it was.
SAME = ("seed", "model_digest", "train_digest", "eval_digest")


def bitwise(spec: RunSpec, world: World, layout: str, reference: Reference) -> dict[str, Any]:
    """What decides the bits of the rest beside the run itself; where all of it is equal, resumed equals straight."""
    packages = ("torch", "transformers", "deepspeed", "peft")
    return {
        "world_size": world.size,
        "row_tokens": spec.row_tokens,
        "layout": layout,
        "device": world.device.type,
        **kind(world.device),
        "reference_digest": reference.digest(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def kind(device: torch.device) -> dict[str, str]:
    """Of a GPU, what changes its bits: an H200 after an H100, another CUDA, another way of NCCL's to sum."""
    if device.type != "cuda":
        return {}
    return {
        "device_name": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "nccl": str(torch.cuda.nccl.version()),  # type: ignore[no-untyped-call]
        "triton": importlib.metadata.version("triton"),
        **{name.lower(): os.environ.get(name, "") for name in ("NCCL_ALGO", "NCCL_PROTO")},
    }


def save(
    spec: RunSpec,
    world: World,
    engine: Engine,
    reference: Reference,
    layout: str,
    progress: dict[str, Any],
    tokens: str,
    background: Background,
    memory: shards.HostMemory | None,
    tell: Callable[[Path], None],
) -> None:
    """Copies what resume/step-N will hold and leaves; the background writes it, seals it, then calls `tell` (rank 0).

    `progress`: step, tokens, metrics; `tokens`: digest of the data as tokens. All ranks call; no rank's thread needs
    another's main thread to go on.
    """
    background.room()
    if memory is not None and memory.holder is not None:
        background.done(memory.holder)
    final = spec.workspace / "resume" / f"step-{progress['step']}"
    partial = seal.unfinished(final)
    if world.leads:
        seal.open_folder(final)
    world.wait()
    taken = shards.take(engine.deepspeed, partial, TAG, memory, exclude_frozen=spec.settings.lora is not None)
    random = seed.state()
    same = spec.model_dump(mode="json", include={*SAME, "settings"})
    meta = {**same, "tokens": tokens, "progress": progress, "bitwise": bitwise(spec, world, layout, reference)}

    def write() -> None:
        paths = shards.write(taken)
        paths.append(partial / f"rank-{world.rank}.safetensors")
        save_file(random, paths[-1])
        if world.leads:
            paths.append(partial / "reference.safetensors")
            save_file(reference.parts(), paths[-1])
        seal.write_part(partial, world.rank, paths)
        if world.leads and seal.when_whole(partial, world.size, meta, lambda: background.abandoned):
            if spec.resume_spacing is None:
                prune(final.parent)
            tell(final)

    if memory is not None:
        memory.holder = write
    background.submit(write, shards.held(taken))


def prune(folder: Path) -> None:
    """Only the newest KEEP sealed points stay, of a run whose points nobody stores (and deletes then)."""
    sealed = [path for path in folder.glob("step-*") if path.suffix != ".tmp"]
    for path in sorted(sealed, key=lambda p: int(p.name.removeprefix("step-")))[:-KEEP]:
        # Unsealed first: a half-deleted folder must not look whole.
        rename(path, seal.unfinished(path))
        shutil.rmtree(seal.unfinished(path))


def check(spec: RunSpec, world: World, source: ResumeFrom) -> Manifest:
    """Before anything is unpickled. Raises BadInput for another run, ManifestMismatch for damage."""
    error: PalateError | None = None
    found = manifest.read(source.path)
    if found.digest() != source.manifest_digest:
        raise ManifestMismatch(f"The resume point's manifest is not {source.manifest_digest}.")
    mine = spec.model_dump(mode="json", include=set(SAME))
    other = [key for key in SAME if found.meta.get(key) != mine[key]]
    # As settings, so that one which was added since then has its default.
    if Settings.model_validate(found.meta.get("settings", {})) != spec.settings:
        other.append("settings")
    if other:
        raise BadInput(f"The resume point belongs to a run with another {other[0]}.", code="resume_mismatch")
    try:
        manifest.verify(source.path, found.model_copy(update={"files": found.files[world.rank :: world.size]}))
    except ManifestMismatch as mismatch:
        error = mismatch
    world.agree(error)
    return found


def serves(found: Manifest, tokens: str, emitter: Emitter) -> bool:
    """Whether the data are still the tokens that they were; after an upgrade they may be others. Told where not."""
    if found.meta.get("tokens") == tokens:
        return True
    step = found.meta["progress"]["step"]
    emitter.warn(
        "resume_point_of_other_tokens",
        f"The resume point of step {step} is not used: this version of the trainer makes other tokens of the data than "
        "the one that wrote it, and the run begins anew.",
        step=step,
    )
    return False


def load(
    spec: RunSpec, world: World, engine: Engine, layout: str, found: Manifest, emitter: Emitter
) -> tuple[Reference, dict[str, Any]]:
    """The reference and the progress of a resume point that was checked; weights, moments, random state go home.

    Written by as many ranks: bit for bit. By another number: through DeepSpeed's universal layout, and a warning.
    """
    assert spec.resume_from
    source = spec.resume_from.path
    reference = Reference(**load_file(source / "reference.safetensors"))
    then, now = found.meta["bitwise"], bitwise(spec, world, layout, reference)
    if then["reference_digest"] != now["reference_digest"]:
        raise ManifestMismatch("The reference log-probabilities do not have the digest of the resume point.")
    progress = dict(found.meta["progress"])
    same_ranks = then["world_size"] == world.size
    if not same_ranks:
        source = universal.prepare(source / TAG, spec.workspace / "universal" / TAG, world).parent
    engine.deepspeed.checkpoint_engine = shards.Shards()
    with shards.distrust(), universal.layout(engine.deepspeed, enabled=not same_ranks):
        path, _ = engine.deepspeed.load_checkpoint(
            str(source), tag=TAG, load_module_strict=spec.settings.lora is None, load_lr_scheduler_states=False
        )
    if path is None:
        raise ManifestMismatch("The resume point holds no state.")
    engine.resumed(progress["step"])
    if same_ranks:
        seed.restore(load_file(source / f"rank-{world.rank}.safetensors"))
    else:
        seed.anew(spec.seed, progress["step"], world.rank)
    warn(then, now, emitter)
    return reference, progress


def warn(then: dict[str, Any], now: dict[str, Any], emitter: Emitter) -> None:
    """One event where the rest of the run is not promised to have the straight run's bits."""
    changed = [name for name in now if then.get(name) != now[name]]
    if "world_size" in changed:
        emitter.warn(
            "resume_other_world_size",
            f"Interrupted on {then['world_size']} ranks, this run goes on with {now['world_size']}: its losses equal "
            "those of an undisturbed run to 1e-5, not bit for bit.",
            then=then["world_size"],
            now=now["world_size"],
        )
    elif changed:
        emitter.warn(
            "resume_not_bitwise",
            f"This run goes on with another {', '.join(changed)} than before: its losses equal those of an undisturbed "
            "run to 1e-5, not bit for bit.",
            changed=changed,
        )
