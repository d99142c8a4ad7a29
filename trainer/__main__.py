"""The trainer is a program: `torchrun … -m trainer --spec run.json` trains, `python -m trainer inspect --spec …` looks
first, `python -m trainer warm …` waits to be asked for ranks (trainer.warm), `python -m trainer gguf FILE FOLDER`
unpacks a model (trainer.gguf), `python -m trainer calibrate` measures the node (trainer.calibrate)."""

import argparse
import os
import sys
import traceback
from pathlib import Path


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["inspect"]:
        return look(spec_path(arguments[1:]))
    if arguments[:1] == ["warm"]:
        from trainer import warm

        return warm.main(arguments[1:])
    if arguments[:1] == ["calibrate"]:
        from trainer import calibrate

        return calibrate.main()
    if arguments[:1] == ["gguf"]:
        from trainer import gguf

        return gguf.main(arguments[1:])
    from trainer import rank

    return rank.live(spec_path(arguments))


def spec_path(arguments: list[str]) -> Path:
    parser = argparse.ArgumentParser(prog="trainer")
    parser.add_argument("--spec", type=Path, required=True)
    path: Path = parser.parse_args(arguments).spec
    return path


def look(path: Path) -> int:
    """Inspection: its result in the spec's `out`; the reason of a failure on stderr, in one line."""
    # A tokenizer needs no torch, and transformers starts seconds sooner where `import torch` finds none.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    from core.contract.run_spec import InspectSpec
    from trainer import inspect
    from trainer import spec as specs
    from trainer.failures import judge

    try:
        spec = specs.read(path, InspectSpec)
        inspect.write(spec.out, inspect.inspect(spec))
    # As in trainer.rank: every failure becomes an exit code.
    except Exception as error:
        verdict = judge(error)
        if verdict.code == "internal_error":
            traceback.print_exc()
        print(f"{verdict.code}: {verdict.message}", file=sys.stderr)
        return int(verdict.exit)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: gloo's and DeepSpeed's threads would hold up, or abort, an interpreter that has nothing left to do.
    os._exit(status)
