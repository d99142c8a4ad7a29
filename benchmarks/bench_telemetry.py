"""What telling costs: figures, alarms and events of a step as a share of the step. Goal <= 0.3 %.

The trainer itself on hh-helpful (Llama 256 x 4, batches of 16 pairs), one rank on the CPU: the time inside the two
calls that tell, on every step, beside the time of the whole step. And the least step that would still keep the goal.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.arms.work import Work, data_file, model_folder  # noqa: E402
from core.contract.run_spec import RunSpec, Settings  # noqa: E402

WORK = Work("hh", 4_096, pairs=64, batch=16)
STEPS, WARM_UP, GOAL = 24, 4, 0.003


def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args)
        finally:
            seconds.append(time.perf_counter() - began)

    return call


def main() -> None:
    from transformers import AutoTokenizer

    from trainer import loop
    from trainer.alarms import Alarms
    from trainer.rank import live

    folder = model_folder(WORK)
    path, digest = data_file(WORK, AutoTokenizer.from_pretrained(folder))
    settings = Settings(
        learning_rate=1e-6, batch_size=WORK.batch, n_epochs=99, max_steps=STEPS, max_length=WORK.longest
    )
    told: list[float] = []
    looked: list[float] = []
    steps: list[float] = []
    loop.tell = timed(loop.tell, told)
    Alarms.look = timed(Alarms.look, looked)  # type: ignore[method-assign]
    loop.train_step = timed(loop.train_step, steps)
    load = os.getloadavg()[0]
    terminal = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory() as workspace:
        spec = RunSpec(
            run_id="telemetry",
            workspace=Path(workspace),
            model_dir=folder,
            model_digest="t",
            train_data=path,
            train_digest=digest,
            settings=settings,
            row_tokens=4_096,
        )
        (spec.workspace / "run.json").write_text(spec.model_dump_json())
        code = live(spec.workspace / "run.json")
    if code:
        raise SystemExit(f"the run ended with {code}")
    telling = [a + b for a, b in zip(told, looked, strict=True)][WARM_UP:]
    usual, step = statistics.median(telling), statistics.median(steps[WARM_UP:])
    share = sum(telling) / (sum(telling) + sum(steps[WARM_UP:]))
    print(platform.platform(), f"{os.cpu_count()} cores, load {load:.1f}", file=terminal)
    print(
        f"a step {1000 * step:.0f} ms, telling {1e6 * usual:.0f} us (at most {1e6 * max(telling):.0f})", file=terminal
    )
    print(
        f"{100 * share:.3f} % of the time (goal <= 0.3 %); kept by steps of {1000 * usual / GOAL:.0f} ms", file=terminal
    )
    terminal.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
