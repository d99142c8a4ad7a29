"""Held-out accuracy of one arm in a process of its own: `python -m benchmarks.arms.quality ours|trl WORK EXTRA` (JSON).

Prints a JSON object: accuracies before and after training, and where the training had lasted `stop_after` seconds.
Both arms are judged by the same plain loop over transformers' own model, outside their clocks.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

from benchmarks.arms import run
from benchmarks.arms.work import Work, fitting, model_folder
from core.contract.preference import PreferenceRecord, RankingRecord

Records = list[PreferenceRecord | RankingRecord]


class Judge:
    """Examples that no arm trains on, and what the reference says of them; `make` turns the records into others."""

    def __init__(self, work: Work, count: int, make: Callable[[Records], Records] = lambda records: records) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from trainer.data import make_renderer, tokenise

        self.folder = model_folder(work)
        self.tokenizer = tokenizer = AutoTokenizer.from_pretrained(self.folder)
        pool = fitting(replace(work, pairs=work.pairs + 2 * count), tokenizer)
        seen = {each.model_dump_json(include={"prompt"}) for each in pool[: work.pairs]}
        unseen = [each for each in pool[work.pairs :] if each.model_dump_json(include={"prompt"}) not in seen]
        renderer = make_renderer(tokenizer, [])
        self.pairs = tokenise(renderer, make(unseen[:count]), work.longest, "error", work.loss).examples
        self.plain = AutoModelForCausalLM.from_pretrained(self.folder).eval()
        self.reference = self.scores(self.plain)

    def scores(self, model: Any) -> Any:
        """log pi of each answer [examples, answers], the best first"""
        import torch

        found = []
        with torch.no_grad():
            for pair in self.pairs:
                for answer in pair.answers:
                    ids = torch.tensor([list(answer.ids)])
                    logits = model(input_ids=ids).logits[0, pair.prefix - 1 : -1].float()
                    targets = ids[0, pair.prefix :, None]
                    found.append((logits.gather(1, targets).squeeze(1) - logits.logsumexp(1)).sum())
        return torch.stack(found).view(len(self.pairs), -1)

    def accuracies(self, model: Any) -> dict[str, float]:
        """`rewards`: h_w > h_l, an exact tie one half; `logps`: log pi(y_w) > log pi(y_l). Of the first two answers;
        `order`: as `rewards`, of any two."""
        logps = self.scores(model)
        rewards = logps - self.reference

        def ahead(i: int, j: int) -> float:
            told = (rewards[:, i] > rewards[:, j]).float() + 0.5 * (rewards[:, i] == rewards[:, j])
            return float(told.mean())

        any_two = [ahead(i, j) for i, j in combinations(range(rewards.shape[1]), 2)]
        won = float((logps[:, 0] > logps[:, 1]).float().mean())
        return {"rewards": ahead(0, 1), "logps": won, "order": sum(any_two) / len(any_two)}

    def of_ours(self, model: Any) -> dict[str, float]:
        """Of the engine's model: its partitioned weights, as an export would write them, in a plain model."""
        import deepspeed
        import torch

        from trainer import parts

        weights: dict[str, Any] = {}
        for part in parts.of_model(model, torch.float32, 0):
            with deepspeed.zero.GatheredParameters(list(part.gathered)):
                weights |= {name: tensor.detach().clone() for name, tensor in part.make(part.gathered).items()}
        found = self.plain.load_state_dict(weights, strict=False)
        # Tied weights come once.
        unlike = {*found.unexpected_keys, *found.missing_keys} - set(self.plain.all_tied_weights_keys)
        assert not unlike, unlike
        return self.accuracies(self.plain)


def main() -> None:
    arm, work = sys.argv[1], Work(**json.loads(sys.argv[2]))
    extra = json.loads(sys.argv[3])
    out = os.dup(1)
    run.print_to_stderr()
    judge = Judge(work, extra["held_out"])
    found: dict[str, Any] = {"work": asdict(work)}
    if extra.get("before", True):
        found["before"] = judge.accuracies(judge.plain)
    steps = -(-work.pairs // work.batch)
    look = judge.of_ours if arm == "ours" else judge.accuracies

    def watch(step: int, seconds: float, model: Any) -> None:
        if "at_time" not in found and seconds >= extra.get("stop_after", float("inf")):
            found.update(at_time=look(model), steps_at_time=step)
        if step == steps:
            found.update(after=look(model), seconds=seconds)

    if arm == "ours":
        run.ours(work, {}, watch)
    else:
        run.trl(work, {"best": True, "micro": extra["micro"]}, watch)
    os.write(out, json.dumps(found).encode())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
