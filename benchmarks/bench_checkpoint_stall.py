"""Share of a training's wall time that it waits for checkpoints and resume points, each every 50 steps: goal <= 1 %.

A Llama of 9 M parameters in fp32 on the CPU, one rank and 150 steps, as the trainer itself measures it (`finished`):
the time in which its main thread does no training. Beside it what the writing takes from the steps that follow: their
duration against the others', since the writer thread shares the cores here.
"""

import os
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.contract.run_spec import RunSpec, Settings
from tests.launch import Run, alone
from tests.models import make_tokenizer
from tests.pairs import make_records, write_records

STEPS, EVERY, AFTER = 150, 50, 5


def make_model(folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=5,
        num_attention_heads=6,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    folder.mkdir(parents=True)
    tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
    print(f"{sum(tensor.numel() for tensor in tensors.values()) / 1e6:.1f} M parameters")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as name, alone():
        base = Path(name)
        spec = RunSpec(
            run_id="stall",
            workspace=base / "run",
            model_dir=make_model(base / "model"),
            model_digest="stall",
            train_data=base / "train.zst",
            train_digest=write_records(base / "train.zst", make_records(200)),
            settings=Settings(learning_rate=1e-5, batch_size=8, n_epochs=1000, max_steps=STEPS),
            checkpoint_steps=EVERY,
            resume_steps=EVERY,
        )
        run = Run(spec)
        assert run.code() == 0, run.logs()
        steps = run.events("step")
        wall = steps[-1]["time"] - steps[0]["time"]
        stalled = run.events("finished")[-1]["metrics"]["stalled_seconds"]
        gaps = {b["step"]: b["time"] - a["time"] for a, b in pairwise(steps)}
        after = [gap for step, gap in gaps.items() if 1 < step % EVERY <= 1 + AFTER and step > EVERY]
        others = [gap for step, gap in gaps.items() if step % EVERY > 1 + AFTER]
        sealed = {event["step"]: event["time"] for event in run.events("resume_point_sealed")}
        behind = [sealed[step] - event["time"] for event in steps if (step := event["step"]) in sealed]
        size = sum(path.stat().st_size for path in (base / "run").rglob("step-50/**/*") if path.is_file())
    usual = statistics.median(others)
    print(f"cores {os.cpu_count()}, {size / 2**20:.0f} MiB each {EVERY} steps, a step {1000 * usual:.0f} ms")
    print(f"stalled {stalled:.3f} s of {wall:.1f} s: {100 * stalled / wall:.2f} % (goal <= 1 %)")
    print(f"the {AFTER} steps after a save: {statistics.mean(after) / usual:.2f} of the usual step")
    print(f"a resume point is sealed {max(behind):.2f} s after its step, at most")


if __name__ == "__main__":
    main()
