"""A rank's life around its run: whom it dies with, where it signs in and out, how a failure becomes an exit code.

Nothing here imports torch before the rank has tied its life to its parent's and written down who it is.
"""

import faulthandler
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from core import processes
from core.contract.exits import Exit
from core.disk import rename

SUPERVISOR = "PALATE_SUPERVISOR"
ROOM_BYTES = 1 << 16


def live(path: Path) -> int:
    """From the first line to the exit code; RANK says which one this is."""
    processes.die_with_parent(os.getppid())
    watch_supervisor()
    rank = int(os.environ.get("RANK", "0"))
    try:
        workspace = Path(json.loads(path.read_bytes())["workspace"])
        sign_in(workspace, rank)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{path}: not a readable run spec: {error}", file=sys.stderr)
        return int(Exit.BAD_SPEC)
    return train(path, workspace, rank)


def watch_supervisor() -> None:
    """A launcher that hangs, or one that died before we could look, must not keep a rank alive."""
    named = os.environ.get(SUPERVISOR)
    if named:
        processes.watch(processes.parse(named))


def sign_in(workspace: Path, rank: int) -> None:
    """ranks/N.json for the one who may have to kill us; our own output goes to logs/rank-N.log."""
    for name in ("ranks", "logs", "checkpoints", "resume"):
        (workspace / name).mkdir(parents=True, exist_ok=True)
    processes.this_process().sign(workspace / "ranks" / f"{rank}.json")
    room(workspace, rank).write_bytes(bytes(ROOM_BYTES))
    log = os.open(workspace / "logs" / f"rank-{rank}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def room(workspace: Path, rank: int) -> Path:
    """Space on the disk for this rank's last words: given back when there is something to say."""
    return workspace / "ranks" / f"{rank}.room"


def sign_out(workspace: Path, rank: int, code: int) -> int:
    """ranks/N.exit: the launcher's own exit code is 1 whatever a rank's was."""
    path = workspace / "ranks" / f"{rank}.exit"
    partial = path.with_suffix(".exit.tmp")
    partial.write_text(str(code))
    rename(partial, path)
    return code


def train(path: Path, workspace: Path, rank: int) -> int:
    """The exit code; whatever went wrong is told in one event, and in full in the log."""
    from core.contract.run_spec import RunSpec
    from trainer import spec as specs
    from trainer.emit import Emitter
    from trainer.failures import judge

    emitter = Emitter(workspace, rank)
    try:
        spec = specs.read(path, RunSpec)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch

        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        from trainer import run, world

        world.require(spec.device)
        found = world.join()
        code = sign_out(workspace, rank, run.run(spec, found, emitter))
        # Together: the launcher ends the ranks that are still there when one has left with a code of its own.
        found.wait()
        return code
    # The one place where every failure becomes an exit code.
    except Exception as error:
        room(workspace, rank).unlink(missing_ok=True)
        traceback.print_exc()
        verdict = judge(error)
        if emitter.failed(verdict):
            sign_out(workspace, rank, verdict.exit)
        return int(verdict.exit)
