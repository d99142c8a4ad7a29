"""One training of one arm in a process of its own: `python -m benchmarks.arms.advice WORK ARM` (JSON).

ARM: `flips`, the share of the training labels that is turned round; `without`, lines of the file that are left out;
`settings` of the run; `ranked`: each pair becomes a ranking of four; `budget`: tokens to feed, instead of an epoch.
Prints held-out accuracy on data as it was labelled, and what the run's own reference pass said of its data.
"""

import json
import os
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.arms.quality import Judge, Records
from benchmarks.arms.run import print_to_stderr
from benchmarks.arms.work import Work, fitting, model_folder
from core.contract.preference import PreferenceRecord, RankingRecord
from core.contract.run_spec import RunSpec, Settings
from tests.pairs import write_records


def turned_round(records: Records, share: float, seed: int) -> Records:
    """Line i of the file is record i; the same labels are wrong in every arm of a seed."""
    draw = random.Random(seed)
    found: Records = []
    for number, each in enumerate(records):
        wrong = draw.random() < share
        changed: dict[str, Any] = {"origin": each.origin.model_copy(update={"line": number + 1})}
        if wrong and isinstance(each, PreferenceRecord):
            changed |= {"chosen": each.rejected, "rejected": each.chosen}
        found.append(each.model_copy(update=changed))
    return found


def ranked(records: Records) -> Records:
    """Of each pair a ranking of four: its preferred answer, its other one, and the two of another prompt."""
    pairs = [each for each in records if isinstance(each, PreferenceRecord)]
    return [
        RankingRecord(
            id=each.id,
            prompt=each.prompt,
            completions=[each.chosen, each.rejected, other.chosen, other.rejected],
            ranks=[1, 2, 3, 4],
            origin=each.origin,
        )
        for each, other in zip(pairs, [*pairs[1:], *pairs[:1]], strict=True)
    ]


def steps_for(budget: int, data: Path, work: Work, settings: Settings, judge: Judge) -> int:
    """Steps that feed about `budget` tokens, a prompt that answers share counted once."""
    from trainer import records
    from trainer.data import make_renderer, tokenise
    from trainer.layouts import fed

    renderer = make_renderer(judge.tokenizer, [])
    examples = tokenise(renderer, records.read(data), work.longest, "drop", settings.loss).examples
    a_step = settings.batch_size * sum(fed(each, "shared") for each in examples) / len(examples)
    return round(budget / a_step)


def train(work: Work, arm: dict[str, Any], judge: Judge) -> dict[str, Any]:
    from trainer import loop, reference_checks, world
    from trainer.emit import Emitter
    from trainer.run import assemble

    records = turned_round(fitting(replace(work, loss="sigmoid"), judge.tokenizer), arm.get("flips", 0.0), work.seed)
    left_out = set(arm.get("without", []))
    records = [each for each in records if each.origin.line not in left_out]
    if arm.get("ranked"):
        records = ranked(records)
    with tempfile.TemporaryDirectory() as workspace:
        base = Path(workspace)
        for name in ("ranks", "logs", "checkpoints", "resume"):
            (base / name).mkdir()
        digest = write_records(base / "train.zst", records)
        common = {"learning_rate": work.learning_rate, "warmup_ratio": 0.0, "max_length": work.longest}
        settings = Settings.model_validate({"batch_size": work.batch, **common, **arm.get("settings", {})})
        if arm.get("budget"):
            steps = steps_for(arm["budget"], base / "train.zst", work, settings, judge)
            settings = settings.model_copy(update={"max_steps": steps, "n_epochs": steps})
        spec = RunSpec(
            run_id="bench",
            workspace=base,
            model_dir=model_folder(work),
            model_digest="b",
            train_data=base / "train.zst",
            train_digest=digest,
            seed=work.seed,
            settings=settings,
            row_tokens=4_096,
        )
        course = assemble(spec, world.join(), Emitter(base, 0))
        began, tokens = time.perf_counter(), 0
        for step in range(1, course.total + 1):
            tokens += loop.train_step(course, step, resume_due=False).tokens
        seconds = time.perf_counter() - began
        found = reference_checks.checks(course.data.train.examples, course.reference.train, spec.seed)
        findings = [each.model_dump(mode="json") for each in found]
    accuracies = judge.of_ours(course.engine.model)
    return {**accuracies, "steps": course.total, "tokens": tokens, "seconds": seconds, "findings": findings}


def main() -> None:
    work, arm = Work(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    out = os.dup(1)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    print_to_stderr()
    judged = replace(work, loss="plackett_luce") if arm.get("ranked") else work
    judge = Judge(judged, arm["held_out"], ranked if arm.get("ranked") else list)
    os.write(out, json.dumps(train(work, arm, judge)).encode())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
