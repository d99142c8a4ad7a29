"""`python -m demo`: pairs of story endings in, a better writer out, through the real service on this machine."""

import argparse
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from demo.run import Demo
from demo.scenario import SMOLLM2, STORYTELLER
from demo.stack import DemoFailed, tail

PLAIN_WIDTH = 120


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".palate/demo"), help="the service's folder (kept)")
    parser.add_argument("--cache", type=Path, default=Path(".cache/storyteller"), help="where base models are kept")
    parser.add_argument("--real", action="store_true", help="a real model of 30 layers instead of the storyteller")
    parser.add_argument("--ranks", type=int, default=2, help="processes that train together")
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _interrupt)
    began = time.monotonic()
    demo = Demo(SMOLLM2 if arguments.real else STORYTELLER, console, arguments.home, arguments.cache, arguments.ranks)
    code = 1
    try:
        demo.run()
        code = 0
    except KeyboardInterrupt:
        console.print("\nInterrupted; stopping everything.")
        code = 130
    except DemoFailed as failure:
        for text in tail(failure.log):
            console.print(f"  [dim]{escape(text)}[/]")
        console.print(f"[bold red]The demo failed:[/] {escape(str(failure))}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        killed = demo.stack.stop()
    if killed:
        console.print(f"[bold red]Processes outlived the service and were killed:[/] {killed}")
        code = code or 1
    if code == 0:
        console.print(f"Everything is stopped. [bold]{time.monotonic() - began:.0f} s[/] in all, after set-up.\n")
    return code


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
