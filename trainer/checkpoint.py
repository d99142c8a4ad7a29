"""Resume points: everything that decides the rest of the run, so that going on equals never having stopped.

In a sealed folder: state/ (DeepSpeed's shards: fp32 masters, moments), rank-N.safetensors (random state),
reference.safetensors, manifest.json (cursor, digests, versions). The shards are pickles: nothing is unpickled before
the manifest's digest is the one that the worker names, and each file's sha256 the one in the manifest.
"""

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from core.contract import manifest
from core.contract.errors import BadInput, PalateError
from core.contract.manifest import FileEntry, Manifest, ManifestMismatch, sha256_file
from core.contract.run_spec import ResumeFrom, RunSpec
from trainer import seal, seed
from trainer.engine import Engine
from trainer.reference import Reference
from trainer.world import World

KEEP = 2
TAG = "state"
# A run goes on only as the run that it was.
SAME = ("world_size", "seed", "settings", "model_digest", "train_digest", "eval_digest")


def identity(spec: RunSpec, world: World) -> dict[str, Any]:
    """What must be equal to go on at all, and what else bitwise equality rests on."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "deepspeed")}
    return {
        **{key: spec.model_dump(mode="json")[key] for key in SAME},
        "bitwise": {"micro_batch_size": spec.micro_batch_size, "device": world.device.type, "versions": versions},
    }


def save(spec: RunSpec, world: World, engine: Engine, reference: Reference, progress: dict[str, Any]) -> Path:
    """Sealed at resume/step-N; every rank writes and hashes, rank 0 names. `progress`: step, tokens, metrics."""
    final = spec.workspace / "resume" / f"step-{progress['step']}"
    partial = final.with_name(final.name + ".tmp")
    if world.leads:
        seal.open_folder(final)
        tensors = {"train": reference.train, "held_out": reference.held_out}
        save_file(tensors, partial / "reference.safetensors")
    world.wait()
    save_file(seed.state(), partial / f"rank-{world.rank}.safetensors")
    engine.deepspeed.save_checkpoint(str(partial), tag=TAG, save_latest=False)
    if world.leads:
        for script in partial.glob("*.py"):
            script.unlink()
    world.wait()
    files = [entry for part in world.gather(hashed(partial, world)) for entry in part]
    if world.leads:
        meta = {**identity(spec, world), "progress": progress, "reference_digest": reference.digest()}
        seal.close_folder(partial, Manifest(files=sorted(files, key=lambda f: f.path), meta=meta))
        prune(final.parent)
    world.wait()
    return final


def hashed(folder: Path, world: World) -> list[FileEntry]:
    """This rank's share of the files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())[world.rank :: world.size]
    return [
        FileEntry(path=p.relative_to(folder).as_posix(), bytes=p.stat().st_size, sha256=sha256_file(p)) for p in paths
    ]


def prune(folder: Path) -> None:
    """Only the newest KEEP sealed points stay."""
    sealed = [path for path in folder.glob("step-*") if path.suffix != ".tmp"]
    for path in sorted(sealed, key=lambda p: int(p.name.removeprefix("step-")))[:-KEEP]:
        # Unsealed first: a half-deleted folder must not look whole.
        doomed = path.rename(path.with_name(path.name + ".tmp"))
        shutil.rmtree(doomed)


def check(spec: RunSpec, world: World, source: ResumeFrom) -> Manifest:
    """Before anything is unpickled. Raises BadInput for another run, ManifestMismatch for damage."""
    error: PalateError | None = None
    found = manifest.read(source.path)
    if found.digest() != source.manifest_digest:
        raise ManifestMismatch(f"The resume point's manifest is not {source.manifest_digest}.")
    mine = identity(spec, world)
    if found.meta.get("world_size") != world.size:
        raise BadInput(
            f"The resume point was written by {found.meta.get('world_size')} ranks and can go on with as many only; "
            f"this run has {world.size}.",
            code="resume_world_size",
        )
    for key in SAME:
        if found.meta.get(key) != mine[key]:
            raise BadInput(f"The resume point belongs to a run with another {key}.", code="resume_mismatch")
    try:
        manifest.verify(source.path, found.model_copy(update={"files": found.files[world.rank :: world.size]}))
    except ManifestMismatch as mismatch:
        error = mismatch
    world.agree(error)
    return found


def load(source: ResumeFrom, found: Manifest, world: World, engine: Engine) -> tuple[Reference, dict[str, Any]]:
    """The reference and the progress; weights, moments and random state go where they belong."""
    tensors = load_file(source.path / "reference.safetensors")
    reference = Reference(tensors["train"], tensors["held_out"])
    if reference.digest() != found.meta["reference_digest"]:
        raise ManifestMismatch("The reference log-probabilities do not have the digest of the resume point.")
    path, _ = engine.deepspeed.load_checkpoint(str(source.path), tag=TAG)
    if path is None:
        raise ManifestMismatch("The resume point holds no state.")
    seed.restore(load_file(source.path / f"rank-{world.rank}.safetensors"))
    return reference, dict(found.meta["progress"])
