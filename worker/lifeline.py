"""Embedded mode: a process of the worker ends with `palate up`, also when that is killed with SIGKILL."""

from collections.abc import Callable

from core import processes, settings


def watch(on_death: Callable[[], None] = lambda: None) -> None:
    """Calls `on_death` when the lifeline's process is gone, and ends this one at once."""
    named = settings.worker().lifeline
    if named:
        processes.watch(processes.parse(named), on_death)
