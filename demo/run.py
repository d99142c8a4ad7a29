"""The demo from beginning to end: base model, service, files, job, download, scores, page."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from demo import data, telling
from demo.grammar import Opening
from demo.outcome import Columns, Outcome, Score
from demo.page import page
from demo.progress import Steps
from demo.scenario import Scenario
from demo.service import Job, Service
from demo.stack import DemoFailed, Stack

SHOWN = 3


class Demo:
    """One run; `timings` in seconds, in the order in which things happened."""

    def __init__(self, scenario: Scenario, console: Console, home: Path, cache: Path, ranks: int) -> None:
        self.scenario = scenario
        self.console = console
        self.work = home.absolute() / "demo"
        self.cache = cache.absolute()
        self.ranks = ranks
        self.stack = Stack(home)
        self.timings: dict[str, float] = {}

    def run(self) -> None:
        telling.hello(self.console, self.scenario.wording)
        self.stack.start()
        base = self.base_model()
        written = data.write_both(self.work, self.scenario)
        shown = self.scenario.shown or tuple(pair.opening for pair in written.held_out_pairs[-SHOWN:])
        before = self.score("Base model, before", base, written, shown)
        telling.pair(self.console, written.example)
        with self.timed("Service ready", "The service"):
            url, key = self.stack.wait_until_ready()
            telling.line(self.console, f"ready at {url} (PostgreSQL, Valkey, object store, API, worker)")
            self.stack.command("models", "add", self.scenario.name, str(base))
        service = Service(url, key)
        try:
            with self.timed("Files checked", "Preference data"):
                reports = [service.upload(path) for path in (written.training, written.held_out)]
                for path, report in zip((written.training, written.held_out), reports, strict=True):
                    telling.report(self.console, path.name, report)
            probes = [self.scenario.ask(opening.text) for opening in shown[:1]]
            job, metrics = self.train(service, reports[0]["id"], reports[1]["id"], probes)
            with self.timed("Download and check", "The model"):
                folder = self.work / "model" / job["id"]
                files = service.download(job["fine_tuned_model"], folder)
                telling.files(self.console, job["fine_tuned_model"], files)
        finally:
            service.close()
        after = self.score("Tuned model, after", folder, written, shown)
        run = Outcome(
            model=job["fine_tuned_model"],
            job=job["id"],
            ranks=self.ranks,
            training_pairs=self.scenario.training_pairs,
            held_out_pairs=len(written.held_out_pairs),
            before=before,
            after=after,
            metrics=metrics,
            files=files,
            settings=settings(job, self.ranks),
            timings=self.timings,
            example=(written.example.opening.text, written.example.chosen, written.example.rejected),
            scenario=self.scenario,
        )
        telling.result(self.console, run)
        picture = self.work / "report.html"
        picture.write_text(page(run), encoding="utf-8")
        telling.line(self.console, f"The whole picture: {picture.as_uri()}")
        telling.line(self.console, f"The model, for transformers: {folder}")

    def base_model(self) -> Path:
        title = self.scenario.wording.base
        with self.timed("Base model", title), Steps(self.console, "pretraining") as bar:

            def look(step: int, steps: int, loss: float) -> None:
                self.stack.check()
                bar.at(step, steps, f"loss {loss:.2f}")

            folder, made = self.scenario.base(self.cache, look)
        telling.line(self.console, "made from scratch, from a fixed seed" if made else f"in the cache: {folder.name}")
        return folder

    def score(self, title: str, folder: Path, written: data.Files, shown: Sequence[Opening]) -> Score:
        from demo.score import score

        with self.timed(f"Scoring: {title}", title), Steps(self.console, "scoring and writing") as bar:

            def look(done: int, total: int) -> None:
                self.stack.check()
                bar.at(done, total, "")

            found = score(folder, self.scenario, written.held_out_pairs, shown, look)
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds().most_common())
        sampled = f"; of {len(found.sampled)} sampled endings: {kinds}" if kinds else ""
        telling.line(
            self.console,
            f"prefers the better ending in {found.accuracy:.0%} of {len(written.held_out_pairs)} unseen pairs{sampled}",
        )
        return found

    def train(self, service: Service, training: str, held_out: str, probes: list[str]) -> tuple[Job, Columns]:
        with self.timed("Job, from request to model", f"The job, on {self.ranks} ranks"):
            with Steps(self.console, "DPO") as bar:
                job = service.create(
                    {
                        "model": self.scenario.name,
                        "training_file": training,
                        "validation_file": held_out,
                        "suffix": "intriguing",
                        "seed": 7,
                        "method": {"type": "dpo", "dpo": {"hyperparameters": self.scenario.hyperparameters}},
                        "palate": {"resources": {"gpus": self.ranks}, "probe_prompts": probes},
                    }
                )

                def look(job: Job, metrics: Columns) -> None:
                    self.stack.check()
                    progress = job["palate"]["progress"] or {}
                    words = telling.step_words(metrics)
                    phase = str(job["palate"]["phase"] or job["status"]).replace("_", " ")
                    bar.at(progress.get("step") or 0, progress.get("total_steps") or 0, f"{phase}  {words}".strip())

                try:
                    job, metrics = service.follow(job, look)
                except BaseException:
                    service.cancel(job["id"])
                    raise
            if job["status"] != "succeeded":
                self.explain(service, job)
            telling.line(self.console, f"{job['id']}: {telling.step_words(metrics)}")
        return job, metrics

    def explain(self, service: Service, job: Job) -> NoReturn:
        """Fails with the job's own reason, and what its ranks wrote last."""
        log = self.work / "job.log"
        log.write_text("\n".join(service.last_words(job["id"])) + "\n")
        error = job["error"] or {}
        said = error.get("message") or "no reason was given"
        raise DemoFailed(f"The job ended as {job['status']}: {said}", log)

    @contextmanager
    def timed(self, name: str, title: str) -> Iterator[None]:
        telling.heading(self.console, title)
        began = time.monotonic()
        yield
        self.timings[name] = time.monotonic() - began


def settings(job: Job, ranks: int) -> dict[str, str]:
    """What the service echoes, `auto` resolved, as text."""
    echoed = job["method"]["dpo"]["hyperparameters"]
    return {"ranks": str(ranks), "seed": str(job["seed"]), **{name: said(value) for name, value in echoed.items()}}


def said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(each)}" for name, each in value.items() if each is not None)
    return "none" if value is None else str(value)
