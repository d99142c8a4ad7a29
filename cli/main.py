"""`palate`: errors as one sentence, never a traceback."""

import sys

from cli.arguments import parser
from cli.service import cleaned
from core.contract.errors import BadInput, PalateError

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 done, 1 said why not on stderr, 2 wrong usage (`check` has its own), 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except PalateError as error:
        say(f"{error.message} ({error.code})" if isinstance(error, BadInput) else error.message)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left: Python would complain when it flushes
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        say(f"{type(error).__name__}: {reason}")
    return 1


def say(message: str) -> None:
    print(f"palate: {cleaned(message)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
