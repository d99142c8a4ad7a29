"""One run of one arm in a process of its own: `python -m benchmarks.arms.run ours|trl WORK_JSON ARM_JSON`.

Prints a JSON object: seconds of set-up, of the reference pass, of each step; losses; peak memory above what the
imports took (`memory`) and of the whole process (`peak`). Both arms see the same tokens, the same global batches in the
same order, the same optimizer.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


# Told after each step: its number, seconds of training so far (with the reference pass), the model.
Watch = Callable[[int, float, Any], None]


def ignore(step: int, seconds: float, model: Any) -> None: ...


def resident() -> int:
    """Bytes, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def prepared(work: Any) -> tuple[Path, Path, str, list[Any]]:
    """Model folder, canonical file, its digest, examples in the order in which the global batches take them."""
    from transformers import AutoTokenizer

    from benchmarks.arms.work import data_file, model_folder
    from trainer import records
    from trainer.batches import global_batch
    from trainer.data import make_renderer, tokenise

    folder = model_folder(work)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    path, digest = data_file(work, tokenizer)
    renderer = make_renderer(tokenizer, [])
    examples = tokenise(renderer, records.read(path, digest), work.longest, "drop", work.loss).examples
    steps = -(-len(examples) // work.batch)
    order = [global_batch(work.seed, step, digest, len(examples), work.batch) for step in range(1, steps + 1)]
    return folder, path, digest, [[examples[i] for i in batch] for batch in order]


def ours(work: Any, arm: dict[str, Any], watch: Watch = ignore) -> dict[str, Any]:
    import tempfile

    from core.contract.run_spec import Lora, RunSpec, Settings
    from planning.memory import cpu_budget
    from trainer import loop, world
    from trainer.emit import Emitter
    from trainer.run import assemble

    folder, path, digest, batches = prepared(work)
    os.environ.setdefault("DS_ACCELERATOR", "cpu" if not cuda() else "cuda")
    settings = Settings(
        loss=work.loss,
        learning_rate=work.learning_rate,
        lr_schedule="linear",
        warmup_ratio=0.0,
        batch_size=work.batch,
        n_epochs=1,
        max_length=work.longest,
        precision=arm.get("precision", "fp32"),
        lora=Lora(r=work.lora, alpha=2.0 * work.lora) if work.lora else None,
    )
    with tempfile.TemporaryDirectory() as workspace:
        for name in ("ranks", "logs", "checkpoints", "resume"):
            (Path(workspace) / name).mkdir()
        spec = RunSpec(
            run_id="bench",
            workspace=Path(workspace),
            model_dir=folder,
            model_digest="b",
            train_data=path,
            train_digest=digest,
            seed=work.seed,
            settings=settings,
            row_tokens=arm.get("row_tokens", 65_536 if cuda() else cpu_budget(known(folder), settings)),
            layout=arm.get("layout", "auto"),
        )
        print_to_stderr()
        began = time.perf_counter()
        joined = world.join()
        emitter = Emitter(spec.workspace, 0)
        before = resident()
        seen: dict[str, float] = {}
        course = assemble(spec, joined, Timed(emitter, seen))
        assembled = time.perf_counter()
        seconds, losses, tokens = [], [], 0
        for step in range(1, len(batches) + 1):
            start = time.perf_counter()
            stepped = loop.train_step(course, step, resume_due=False)
            wait()
            seconds.append(time.perf_counter() - start)
            losses.append(stepped.figures["loss"])
            tokens += stepped.tokens
            watch(step, seen.get("reference", 0.0) + sum(seconds), course.engine.model)
    return {
        "setup": assembled - began - seen.get("reference", 0.0),
        "reference": seen.get("reference", 0.0),
        "steps": seconds,
        "losses": losses,
        "tokens": tokens,
        "layout": course.layout,
        "memory": memory(before),
        "peak": peak(),
    }


def known(folder: Path) -> Any:
    """What planning knows of the model."""
    from planning import weights
    from planning.facts import facts
    from planning.model_json import read_json

    return facts(read_json(folder / "config.json"), weights.read(folder)[0])


class Timed:
    """An emitter that also knows when the reference pass began and ended."""

    def __init__(self, inner: Any, seen: dict[str, float]) -> None:
        self.inner, self.seen, self.began = inner, seen, 0.0

    def phase(self, phase: Any, done: int = 0, total: int = 0) -> None:
        if phase == "reference_pass":
            now = time.perf_counter()
            self.began = self.began or now
            self.seen["reference"] = now - self.began
        self.inner.phase(phase, done, total)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def trl(work: Any, arm: dict[str, Any], watch: Watch = ignore) -> dict[str, Any]:
    """`best`: no recompute, precomputed reference, pairs of a global batch by length, its head on scored positions.

    precision: "bf16" for weights and arithmetic, else fp32. flash_pref: shared prompts by that library's trainer, which
    was not at hand when this was written, so that nothing has run with it.
    """
    import logging

    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer
    from trl.trainer import utils as trl_utils

    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder, _, _, batches = prepared(work)
    if arm["best"]:
        batches = [sorted(batch, key=lambda e: e.longest) for batch in batches]
        if not cuda():
            # On a CPU its fused head scores every position; its own `compact` path scores those that count.
            trl_utils._use_triton = lambda device: True
    rows = [
        {
            "prompt_ids": list(e.answers[0].ids[: e.prefix]),
            "chosen_ids": list(e.answers[0].ids[e.prefix :]),
            "rejected_ids": list(e.answers[1].ids[e.prefix :]),
        }
        for batch in batches
        for e in batch
    ]
    micro, bf16, kind = arm["micro"], arm.get("precision") == "bf16", DPOTrainer
    if arm.get("flash_pref"):
        from flash_pref import FlashDPOTrainer as kind  # type: ignore[import-not-found,no-redef]

    class Given(kind):  # type: ignore[misc,valid-type]
        """The tokens and their order are ours; everything else is TRL's."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.losses: list[float] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait()
            self.seconds.append(time.perf_counter() - self.start)
            watch(len(self.seconds), (ready - made) * arm["best"] + sum(self.seconds), model)

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            if logs and "loss" in logs:
                self.losses.append(logs["loss"])

    clock = Clock()
    print_to_stderr()
    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if bf16 else torch.float32)
    before = resident() - sum(p.nbytes for p in model.parameters())
    args = DPOConfig(
        output_dir="/tmp/palate-bench-trl",
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, work.batch // micro),
        learning_rate=work.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0,
        num_train_epochs=1,
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=None,
        bf16=bf16,
        use_cpu=not cuda(),
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        gradient_checkpointing=not arm["best"],
        precompute_ref_log_probs=arm["best"],
        disable_tqdm=True,
        seed=work.seed,
        dataloader_pin_memory=False,
    )
    made = time.perf_counter()
    trainer = Given(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        callbacks=[clock],
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=adapter(model, work.lora) if work.lora else None,
    )
    if work.lora:
        same_adapter(trainer.model, work.seed)
    ready = time.perf_counter()
    trainer.train()
    return {
        "setup": made - began,
        "reference": ready - made if arm["best"] else 0.0,
        "steps": clock.seconds,
        "losses": clock.losses[: len(clock.seconds)],
        "tokens": sum(e.tokens for batch in batches for e in batch),
        "layout": "padded",
        "memory": memory(before),
        "peak": peak(),
    }


def adapter(model: Any, r: int) -> Any:
    """PEFT's, as our `auto`: every linear layer but the head, alpha 2 r, no dropout."""
    from peft import LoraConfig

    from trainer.lora import find_targets

    targets = find_targets(model, None)
    return LoraConfig(r=r, lora_alpha=2 * r, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")


def same_adapter(model: Any, seed: int) -> None:
    """Each A as our run of this seed draws it, so that both arms train the same adapter."""
    from trainer import lora

    for path, layer in lora.layers(model):
        name = path.removeprefix("base_model.model.")
        layer.lora_A[lora.NAME].weight.data.copy_(lora.initial(name, layer, seed))


def memory(before: int) -> int:
    """Peak bytes of the training: on a GPU what torch allocated, else above what was resident before the model."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else peak() - before


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def print_to_stderr() -> None:
    """What libraries print must not stand in the result."""
    sys.stdout.flush()
    os.dup2(2, 1)


def main() -> None:
    from benchmarks.arms.work import Work

    out = os.dup(1)
    arm = json.loads(sys.argv[3])
    found = {"ours": ours, "trl": trl}[sys.argv[1]](Work(**json.loads(sys.argv[2])), arm)
    os.write(out, json.dumps(found).encode())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
