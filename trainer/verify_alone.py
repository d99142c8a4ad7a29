"""The verdict on a finished model; and a whole attempt that consists of it, where an earlier one trained to the end."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from core.contract import manifest
from core.contract.exits import Exit
from core.contract.manifest import ManifestMismatch
from core.contract.run_spec import RunSpec
from core.contract.states import Phase
from core.contract.trainer_events import Finished, Started, Stopped, Verified
from trainer import seed, stop
from trainer.emit import Emitter
from trainer.failures import GateFailed
from trainer.proof import Proof
from trainer.stop import StopRequested
from trainer.verify import verify
from trainer.world import World


def verdict(
    spec: RunSpec, folder: Path, proof: Proof, device: torch.device, emitter: Emitter, look: Callable[[], None]
) -> None:
    """Told in either case; raises GateFailed where it is not the model that was trained. `folder` goes."""
    looks = 0

    def told() -> None:
        """Between files, matrices and forwards: who says nothing for half an hour is taken for one that hangs."""
        nonlocal looks
        looks += 1
        emitter.phase(Phase.VERIFYING, looks, 0)
        look()

    emitter.phase(Phase.VERIFYING, 0, 0)
    try:
        found = verify(spec, folder, proof, device, told)
    except GateFailed as refusal:
        emitter.say(Verified, step=proof.step, passed=False, message=refusal.message)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    emitter.say(Verified, step=proof.step, passed=True, message=found.message, figures=found.figures, text=found.text)
    emitter.phase(Phase.VERIFYING, looks, looks)


def verify_alone(spec: RunSpec, world: World, emitter: Emitter) -> Exit:
    """No engine, no data, no step, on one rank: the sealed model and what it is verified by are all that there is."""
    assert spec.unverified
    seed.settle(spec.seed)
    found = manifest.read(spec.unverified.path)
    if found.digest() != spec.unverified.manifest_digest:
        raise ManifestMismatch(f"The model's manifest is not {spec.unverified.manifest_digest}.")
    proof = Proof.model_validate(found.meta["proof"])
    emitter.say(
        Started,
        world_size=world.size,
        total_steps=proof.total_steps,
        pairs=proof.pairs,
        dropped=0,
        resumed_from_step=proof.step,
    )
    try:
        verdict(
            spec,
            spec.unverified.path,
            proof,
            world.device,
            emitter,
            lambda: stop.heed(stop.wanted(spec.workspace, world.rank)),
        )
    except StopRequested as request:
        emitter.say(Stopped, step=proof.step, reason=request.word)
        return Exit.STOPPED
    emitter.say(Finished, step=proof.step, metrics=proof.metrics, trained_tokens=proof.tokens)
    return Exit.DONE
