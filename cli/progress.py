"""A job as somebody sees it: one line of figures, as a bar that moves or as lines that add up."""

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_SECONDS = 2.0


def phase(job: dict[str, Any]) -> str:
    """The finer word where there is one."""
    return str(job["palate"]["phase"] or job["status"]).replace("_", " ")


def figures_of(job: dict[str, Any], figures: dict[str, float]) -> str:
    progress = job["palate"]["progress"] or {}
    words = []
    # Of one step in bf16, rounding alone moves the third digit.
    digits = 2 if job["method"]["dpo"]["hyperparameters"].get("precision") == "bf16" else 4
    for name, label in (("train_loss", "loss"), ("rewards/accuracies", "accuracy"), ("rewards/margins", "margin")):
        if name in figures:
            words.append(
                f"{label} {figures[name]:.{digits}f}" if label != "accuracy" else f"{label} {figures[name]:.1%}"
            )
    if progress.get("pairs_per_second"):
        words.append(f"{progress['pairs_per_second']:.1f} pairs/s")
    if progress.get("eta_seconds") is not None and job["status"] == "running":
        words.append(f"ETA {clock(progress['eta_seconds'])}")
    queue = job["palate"]["queue"]
    if queue:
        words.append(f"position {queue['position']}" + (f", {queue['reason']}" if queue["reason"] else ""))
    return "  ".join(words)


def steps(job: dict[str, Any]) -> tuple[int, int | None]:
    progress = job["palate"]["progress"] or {}
    return progress.get("step") or 0, progress.get("total_steps")


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Lines:
    """For logs and pipes: a line when the phase changes, and every few seconds while steps are made."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None
        self._at = 0.0

    def show(self, job: dict[str, Any], figures: dict[str, float]) -> None:
        step, total = steps(job)
        now, said = time.monotonic(), self._said
        if said is not None and said[0] == phase(job) and (said[1] == step or now - self._at < LINE_SECONDS):
            return
        self._said, self._at = (phase(job), step), now
        words = [phase(job), f"step {step}/{total}" if total else "", figures_of(job, figures)]
        print("  ".join(filter(None, words)), flush=True)

    def say(self, text: str) -> None:
        print(text, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


class Bar:
    """For a terminal."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(), transient=True)
        self._task = self._progress.add_task("", total=None, count="", figures="")

    def show(self, job: dict[str, Any], figures: dict[str, float]) -> None:
        step, total = steps(job)
        self._progress.update(
            self._task,
            description=phase(job),
            total=total,
            completed=step,
            count=f"{step}/{total}" if total else "",
            figures=figures_of(job, figures),
        )

    def say(self, text: str) -> None:
        """Above the bar, and stays."""
        self._progress.console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
