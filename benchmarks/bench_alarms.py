"""The alarms on a real model: SmolLM2-135M with LoRA on short real pairs, a good run and over-optimised ones.

A row a run: the greatest fall of the preferred answers (mean of five steps, nats a token) beside what they cost before,
when `chosen_logps_fall` is told, all alarms, and what the model's own greedy answers to unseen prompts cost the base
model, before and after: broken text is dear. `bench_alarms.py FOLDER [RUN ...]`, FOLDER of the real preference files.
"""

import argparse
import os
import sys
import tempfile
from collections import deque
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.contract.preference import PreferenceRecord  # noqa: E402
from core.contract.run_spec import Lora, RunSpec, Settings  # noqa: E402
from demo import smollm2  # noqa: E402
from tests.pairs import write_records  # noqa: E402

RUNS: dict[str, dict[str, Any]] = {
    "auto": {"learning_rate": 1e-5},
    "good": {"learning_rate": 2e-4, "nll_weight": 1.0},
    "high": {"learning_rate": 2e-4},
    "over": {"learning_rate": 1e-3},
}
STEPS, BATCH, LONGEST_WORDS, UNSEEN = 24, 8, 50, 8


def pairs(folder: Path) -> list[PreferenceRecord]:
    from benchmarks.arms import work

    work.DATA = folder

    def words(record: PreferenceRecord) -> int:
        turns = [*record.prompt, *record.chosen, *record.rejected]
        return sum(len(str(turn.content).split()) for turn in turns)

    return [each for each in work.tone() if words(each) <= 2 * LONGEST_WORDS]


def run(name: str, folder: Path) -> str:
    from trainer import loop
    from trainer.alarms import SHIFT_STEPS, Alarms
    from trainer.emit import Emitter
    from trainer.run import assemble
    from trainer.world import join

    base = Path(tempfile.mkdtemp())
    for folder_name in ("ranks", "logs", "checkpoints", "resume"):
        (base / folder_name).mkdir()
    found = pairs(folder)
    train, unseen = found[: STEPS * BATCH], found[STEPS * BATCH :][:UNSEEN]
    spec = RunSpec(
        run_id="alarms",
        workspace=base,
        model_dir=smollm2.folder(),
        model_digest="smollm2",
        train_data=base / "train.zst",
        train_digest=write_records(base / "train.zst", train),
        settings=Settings(batch_size=BATCH, lora=Lora(), max_length=512, **RUNS[name]),
        row_tokens=4096,
        probe_prompts=[str(each.prompt[-1].content) for each in unseen],
    )
    course = assemble(spec, join(), Emitter(base, 0))
    told: list[str] = []
    alarms = Alarms(
        spec.settings, course.total, course.progress, lambda code, _, **data: told.append(f"{code} at {data['step']}")
    )
    before = written(course)
    recent: deque[tuple[float, float]] = deque(maxlen=SHIFT_STEPS)
    falls = [(0.0, 0.0)]
    figures: dict[str, float] = {}
    for step in range(1, course.total + 1):
        stepped = loop.train_step(course, step, False)
        figures = stepped.figures
        alarms.look(figures, stepped.grad_norm)
        recent.append((figures["shift"], figures["nll_loss"]))
        if len(recent) == SHIFT_STEPS:
            shift, now = (fmean(values) for values in zip(*recent, strict=True))
            falls.append((-shift, now + shift))
    after = written(course)
    fall, cost = max(falls)
    settings = ", ".join(f"{key} {value:g}" for key, value in RUNS[name].items())
    print("\n".join(f"  {text!r}" for text in after[1][:4]), file=sys.stderr)
    accuracy = f"{figures['rewards/accuracies']:.0%}"
    return (
        f"| {settings}, {course.total} steps | {fall:.2f} / {cost:.1f} | {'; '.join(told) or '-'} | {accuracy} | "
        f"{before[0]:.2f} | {after[0]:.2f} |"
    )


def written(course: Any) -> tuple[float, list[str]]:
    """Nats a token that the model's greedy answers cost the base model, and the answers."""
    from trainer.data import Example
    from trainer.render import Answer
    from trainer.sample import continuations
    from trainer.scoring import score_examples

    said = continuations(course.engine, course.world, course.renderer, course.openings, 512, lambda: False)
    examples, tokens = [], 0
    for opening, text in zip(course.openings, said, strict=True):
        ids = (*opening, *course.renderer.tokenizer.encode(text, add_special_tokens=False))
        tokens += len(ids) - len(opening)
        if len(ids) > len(opening):
            examples.append(Example("", 1, len(opening), (Answer(ids, ((len(opening), len(ids)),)),)))
    sums = score_examples(course.engine, course.world, examples, course.layout, 4096, reference=True)
    return float(-sums[:, 0].sum()) / max(1, tokens), said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="*", default=list(RUNS), choices=list(RUNS))
    asked = parser.parse_args()
    for name in asked.runs:
        print(run(name, asked.folder), flush=True)
    sys.stdout.flush()
    os._exit(0)  # gloo's threads would hold up the interpreter


if __name__ == "__main__":
    main()
