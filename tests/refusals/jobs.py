"""Which jobs: each decided by the seed and its own number, of real pairs, at lengths from one token to a thousand."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from benchmarks.arms import work
from core.contract.losses import LOSSES, LossName
from core.contract.preference import Message, PreferenceRecord
from core.contract.run_spec import Lora, RunSpec, Settings
from tests.pairs import write_records

Precision = Literal["fp32", "bf16"]
CELLS: list[tuple[Precision, bool]] = list(product(("fp32", "bf16"), (False, True)))
# Each of every fourth job; the sigmoid losses are what most people run.
NAMES: list[LossName] = ["sigmoid", "sigmoid_norm", *(name for name in LOSSES if LOSSES[name].unit != "list")]
LONGEST = 1_000
PROMPT_TOKENS = 48
FILES = ("tone", "persona", "hh", "ultra")


@dataclass(frozen=True)
class Job:
    """`lengths`: scored tokens wanted of each pair's chosen and rejected answer, the end token apart."""

    number: int
    file: str
    precision: Precision
    lora: bool
    loss: LossName
    steps: int
    seed: int
    lengths: tuple[tuple[int, int], ...]

    @property
    def told(self) -> str:
        longest = max(max(pair) for pair in self.lengths)
        kind = "LoRA" if self.lora else "full"
        return f"{self.precision} {kind} {self.loss} of {self.file}, {self.steps} steps, to {longest} tokens"


def job(number: int, seed: int, files: Sequence[str], pairs: int, longest: int = LONGEST) -> Job:
    """The four cells by turns; loss, file, steps and the run's seed are drawn, and the job's longest answer, evenly by
    the logarithm, and the others up to that."""
    draw = random.Random(f"{seed} {number}")
    precision, lora = CELLS[number % len(CELLS)]

    longest = round(longest ** draw.random())

    def length() -> int:
        return round(longest ** draw.random())

    steps = draw.choice((1, 2))
    lengths = [[length(), length()] for _ in range(pairs * steps)]
    draw.choice(lengths)[draw.randrange(2)] = longest
    return Job(
        number,
        draw.choice(files),
        precision,
        lora,
        draw.choice(NAMES),
        steps,
        draw.randrange(1 << 31),
        tuple((good, bad) for good, bad in lengths),
    )


class Pairs:
    """The pairs of a file of ../shared/data, and their answers by their tokens."""

    def __init__(self, name: str, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        found = [each for each in work.records(name) if isinstance(each, PreferenceRecord)]
        self.records = [each for each in found if self.count(each.prompt[-1]) <= PROMPT_TOKENS]
        self.text = [self.ids(each.chosen[-1]) for each in found] + [self.ids(each.rejected[-1]) for each in found]

    def ids(self, message: Message) -> list[int]:
        return list(self.tokenizer(str(message.content), add_special_tokens=False)["input_ids"])

    def count(self, message: Message) -> int:
        return len(self.ids(message))

    def drawn(self, job: Job) -> list[PreferenceRecord]:
        """Pairs whose answers are cut to the job's lengths; a short one goes on with other answers of the file."""
        draw = random.Random(job.seed)
        found = []
        for number, (good, bad) in enumerate(job.lengths):
            each = draw.choice(self.records)
            chosen, rejected = self.cut(each.chosen, good, draw), self.cut(each.rejected, bad, draw)
            while chosen[-1].content == rejected[-1].content:
                rejected = self.cut(draw.choice(self.records).rejected, bad, draw)
            about = {"id": f"job-{number}", "prompt": each.prompt[-1:], "chosen": chosen, "rejected": rejected}
            found.append(each.model_copy(update=about))
        return found

    def cut(self, said: list[Message], length: int, draw: random.Random) -> list[Message]:
        ids = self.ids(said[-1])
        while len(ids) < length:
            ids = ids + draw.choice(self.text)
        text = self.tokenizer.decode(ids[:length]).strip() or "yes"
        return [said[-1].model_copy(update={"content": text})]


def spec(job: Job, records: Sequence[PreferenceRecord], model: Path, workspace: Path) -> RunSpec:
    """In the missing folder `workspace`, with a plain run's settings; no pair is cut or left out for its length."""
    workspace.mkdir()
    data = workspace.with_suffix(".zst")
    settings = {
        "loss": job.loss,
        **LOSSES[job.loss].auto,
        "learning_rate": 1e-5 if job.lora else 1e-6,
        "batch_size": len(records) // job.steps * (2 if LOSSES[job.loss].unit == "single" else 1),
        "max_steps": job.steps,
        "precision": job.precision,
        "lora": Lora() if job.lora else None,
        "truncation": "error",
    }
    return RunSpec(
        run_id="refusals",
        workspace=workspace,
        model_dir=model,
        model_digest="smollm2",
        train_data=data,
        train_digest=write_records(data, records),
        seed=job.seed,
        settings=Settings.model_validate(settings),
        row_tokens=2_048,
        export=["adapter", "model"] if job.lora else ["model"],
    )
