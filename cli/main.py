"""`palate`: every command; each one's work is in a file of its own."""

import argparse
import sys
from pathlib import Path

from core.contract.errors import PalateError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="palate")
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up")
    up.add_argument("--home", type=Path, default=Path(".palate"))
    up.add_argument("--host", default="127.0.0.1")
    up.add_argument("--port", type=int, default=0)
    up.set_defaults(run=run_up)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except PalateError as error:
        print(f"palate: {error.message}", file=sys.stderr)
        return 1


def run_up(arguments: argparse.Namespace) -> int:
    from local.up import run

    return run(arguments.home, arguments.host, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
