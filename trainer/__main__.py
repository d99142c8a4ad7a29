"""`torchrun … -m trainer --spec run.json` trains; `python -m trainer inspect --spec inspect.json` looks first.

Before torch is imported (seconds), a rank ties its life to its parent's and writes down who it is.
"""

import argparse
import ctypes
import faulthandler
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
ORPHANED = 137


def main() -> int:
    if sys.argv[1:2] == ["inspect"]:
        return look(spec_path(sys.argv[2:]))
    parent = os.getppid()
    die_with_parent(parent)
    path = spec_path(sys.argv[1:])
    rank = int(os.environ.get("RANK", "0"))
    try:
        workspace = Path(json.loads(path.read_bytes())["workspace"])
        sign_in(workspace, rank)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{path}: not a readable run spec: {error}", file=sys.stderr)
        return 64
    return train(path, workspace, rank)


def spec_path(arguments: list[str]) -> Path:
    parser = argparse.ArgumentParser(prog="trainer")
    parser.add_argument("--spec", type=Path, required=True)
    path: Path = parser.parse_args(arguments).spec
    return path


def die_with_parent(parent: int) -> None:
    """torchrun gives each rank a session of its own: without this, killing torchrun would leave the ranks alive."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        os._exit(ORPHANED)


def sign_in(workspace: Path, rank: int) -> None:
    """ranks/N.json for the one who may have to kill us; our own output goes to logs/rank-N.log."""
    for name in ("ranks", "logs", "checkpoints", "resume"):
        (workspace / name).mkdir(parents=True, exist_ok=True)
    write(workspace / "ranks" / f"{rank}.json", json.dumps(identity()))
    log = os.open(workspace / "logs" / f"rank-{rank}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def identity() -> dict[str, int]:
    """A pid alone may be another's by tomorrow; with the start time (clock ticks since boot) it is ours."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return {"pid": os.getpid(), "start_time": int(fields[19])}


def sign_out(workspace: Path, rank: int, code: int) -> int:
    """ranks/N.exit: torchrun's own exit code is 1 whatever a rank's was."""
    write(workspace / "ranks" / f"{rank}.exit", str(code))
    return code


def write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text)
    partial.rename(path)


def train(path: Path, workspace: Path, rank: int) -> int:
    """The exit code; whatever went wrong is told in one event, and in full in the log."""
    from trainer.emit import Emitter
    from trainer.failures import judge

    emitter = Emitter(workspace, rank)
    try:
        spec = read_spec(path)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch

        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        from trainer import run, world

        found = world.join()
        code = sign_out(workspace, rank, run.run(spec, found, emitter))
        # Together: torchrun ends the ranks that are still there when one has left with a code of its own.
        found.wait()
        return code
    # The one place where every failure becomes an exit code.
    except Exception as error:
        traceback.print_exc()
        verdict = judge(error)
        if emitter.failed(verdict):
            sign_out(workspace, rank, verdict.exit)
        return int(verdict.exit)


def read_spec(path: Path) -> Any:
    from pydantic import ValidationError

    from core.contract.errors import BadInput
    from core.contract.run_spec import RunSpec

    try:
        return RunSpec.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadInput(f"The run spec is not valid: {one_fault(error)}", code="bad_spec") from error


def one_fault(error: Any) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}."


def look(path: Path) -> int:
    """Inspection: its result in the spec's `out`; the reason of a failure on stderr, in one line."""
    from pydantic import ValidationError

    from core.contract.run_spec import InspectSpec
    from trainer import inspect
    from trainer.failures import judge

    try:
        spec = InspectSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = one_fault(error) if isinstance(error, ValidationError) else error
        print(f"{path}: not a readable inspect spec: {reason}", file=sys.stderr)
        return 64
    try:
        inspect.write(spec.out, inspect.inspect(spec))
    # As in train: every failure becomes an exit code.
    except Exception as error:
        verdict = judge(error)
        if verdict.code == "internal_error":
            traceback.print_exc()
        print(f"{verdict.code}: {verdict.message}", file=sys.stderr)
        return int(verdict.exit)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: gloo's and DeepSpeed's threads would hold up, or abort, an interpreter that has nothing left to do.
    os._exit(status)
