"""The real trainer, in which each gate and each long part is timed; rank 0 writes timings.json beside run.json.

`python -m tests.gpu.check.timed_trainer --spec run.json`. With PALATE_GPU_CHECK_PROFILE one optimizer step is
profiled (tests.gpu.check.profile). A GPU is waited for at both ends of what is timed, so that its time is counted where
it belongs; times are of what is within, too.
"""

import functools
import importlib
import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROFILE = "PALATE_GPU_CHECK_PROFILE"
# The step that is profiled: what is compiled is compiled by then.
PROFILED = 5
STEP = "an optimizer step"
TIMED = {
    "weights looked through for damage": "trainer.model:find_damage",
    "model loaded and cut over the ranks": "trainer.engine:Engine.__init__",
    "probe, whole": "trainer.run:probe",
    "probe: each answer alone": "trainer.probe:Truth.__init__",
    "probe: noise": "trainer.probe:Truth.noise",
    "probe: the fused head": "trainer.probe:head_error",
    "probe: a layout's errors": "trainer.probe:Truth.errors",
    "exact gate: zero gradients": "trainer.exact:Gate.visibility",
    "exact gate: other neighbours": "trainer.exact:Gate.perturbation",
    "exact gate: twins": "trainer.exact:Gate.twins",
    "exact gate: kinds of layers": "trainer.exact:Gate.kinds_of_layers",
    "reference pass": "trainer.run:take_reference",
    "gates of the first batch": "trainer.gate:FirstLook.plain",
    STEP: "trainer.loop:train_step",
    "a resume point, as far as training waits": "trainer.checkpoint:save",
    "export, as far as training waits": "trainer.milestones:export",
    "what the export is verified by": "trainer.milestones:prove",
    "verify, whole": "trainer.milestones:verdict",
    "verify: the bytes of a file": "trainer.verify:same_bytes",
    "verify: the merge": "trainer.verify:merge",
    "verify: loaded again": "trainer.verify:whole",
    "verify: the loaded model's sums": "trainer.verify:same_sums",
}


class Timings:
    """Seconds of each call by name, kept on the disk after each, since a rank leaves without a farewell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, list[float]] = {}
        self.profile: dict[str, Any] = {}

    def timed(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def run(*arguments: Any, **named: Any) -> Any:
            wait()
            began = time.perf_counter()
            try:
                return act(*arguments, **named)
            finally:
                wait()
                self.seconds.setdefault(name, []).append(time.perf_counter() - began)
                self.write()

        return run

    def profiled(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """Its PROFILED-th call."""
        calls = [0]

        @functools.wraps(act)
        def run(*arguments: Any, **named: Any) -> Any:
            from tests.gpu.check import profile

            calls[0] += 1
            if calls[0] != PROFILED:
                return act(*arguments, **named)
            found, self.profile = profile.shares(lambda: act(*arguments, **named))
            return found

        return run

    def write(self) -> None:
        import torch

        told: dict[str, Any] = {"seconds": self.seconds, "profile": self.profile}
        told["resident_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            told["allocated_bytes"] = torch.cuda.max_memory_allocated()
            told["reserved_bytes"] = torch.cuda.max_memory_reserved()
        partial = self.path.with_suffix(".tmp")
        partial.write_text(json.dumps(told))
        partial.replace(self.path)


def wait() -> None:
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def patch(timings: Timings) -> None:
    """Raises AttributeError for a name that the trainer no longer has."""
    for name, place in TIMED.items():
        module, _, path = place.partition(":")
        *holders, last = path.split(".")
        holder: Any = importlib.import_module(module)
        for each in holders:
            holder = getattr(holder, each)
        act = getattr(holder, last)
        if name == STEP and PROFILE in os.environ:
            act = timings.profiled(act)
        setattr(holder, last, timings.timed(name, act))


if __name__ == "__main__":
    if os.environ.get("RANK", "0") == "0":
        import torch

        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        patch(Timings(Path(sys.argv[sys.argv.index("--spec") + 1]).parent / "timings.json"))
    runpy.run_module("trainer", run_name="__main__", alter_sys=True)
