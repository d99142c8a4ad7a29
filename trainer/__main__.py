"""The trainer is a program.

python -m trainer launch --ranks N --spec run.json    trains (trainer.launch)
python -m trainer --spec run.json                     one rank of it, by the launcher's environment; else a world of one
python -m trainer inspect --spec …                    looks first
python -m trainer warm …                              waits to be asked for ranks (trainer.warm)
python -m trainer calibrate                           measures the node (trainer.calibrate)

Of a base model that is being added: `check FOLDER` (trainer.check), `gguf FILE FOLDER` (trainer.gguf), `merge BASE
ADAPTER FOLDER` (trainer.merge).
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

CHECK_BYTES = 8 << 30


def main(arguments: list[str]) -> int:
    match arguments:
        case ["inspect", *rest]:
            return look(spec_path(rest))
        case ["launch", *rest]:
            from trainer import launch

            asked = launching(rest)
            return launch.cold(asked.spec, asked.ranks, asked.program)
        case ["warm", *rest]:
            from trainer import warm

            return warm.main(rest)
        case ["calibrate", *_]:
            from trainer import calibrate

            return calibrate.main()
        case ["check" | "gguf" | "merge" as verb, *rest]:
            return answer(lambda: of_a_folder(verb, rest))
    from trainer import rank

    return rank.live(spec_path(arguments))


def of_a_folder(verb: str, rest: list[str]) -> None:
    """What is told of it, as one line of JSON on stdout."""
    import json

    places = [Path(each) for each in rest if not each.startswith("--")]
    if verb == "check":
        import resource

        # Names and shapes alone take far less; a configuration may still ask for more of them than anybody has.
        resource.setrlimit(resource.RLIMIT_DATA, (CHECK_BYTES, CHECK_BYTES))
        from trainer import check

        built = check.check(*places, weights="--no-weights" not in rest, tokenizer="--no-tokenizer" not in rest)
        print(built.model_dump_json())
    elif verb == "gguf":
        from trainer import gguf

        print(json.dumps(gguf.convert(*places)))
    else:
        from trainer import merge

        print(json.dumps(merge.merge(*places)))


def launching(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trainer launch")
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--ranks", type=int, required=True, help="one a device")
    parser.add_argument("program", nargs="*", default=["-m", "trainer"], help="behind --: what Python runs as a rank")
    return parser.parse_args(arguments)


def spec_path(arguments: list[str]) -> Path:
    parser = argparse.ArgumentParser(prog="trainer")
    parser.add_argument("--spec", type=Path, required=True)
    path: Path = parser.parse_args(arguments).spec
    return path


def look(path: Path) -> int:
    """Inspection, within its memory: its result in the spec's `out`."""
    # A tokenizer needs no torch, and transformers starts seconds sooner where `import torch` finds none.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
    import resource

    from core.contract.run_spec import InspectSpec
    from trainer import inspect
    from trainer import spec as specs

    def work() -> None:
        spec = specs.read(path, InspectSpec)
        if spec.memory_bytes:
            resource.setrlimit(resource.RLIMIT_AS, (spec.memory_bytes, spec.memory_bytes))
        inspect.write(spec.out, inspect.inspect(spec))

    return answer(work)


def answer(work: Callable[[], None]) -> int:
    """The exit code; the reason of a failure on stderr, its last line."""
    from trainer.failures import judge

    try:
        work()
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
