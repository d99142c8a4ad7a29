"""What people write by hand with TRL, to its first optimizer step: `first_step.py MODEL_FOLDER PAIRS_JSONL STEPS_FILE`.

Every option at its default but those that make it the same work: CPU, fp32, 8 pairs a step, the same cut.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer


class Stopwatch(TrainerCallback):  # type: ignore[misc]
    def on_step_end(self, *_: object, **__: object) -> None:
        Path(sys.argv[3]).write_text(str(time.time()))


def turns(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def main() -> None:
    folder, pairs = sys.argv[1], [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
    rows = [
        {
            "prompt": turns("user", pair["prompt"]),
            "chosen": turns("assistant", pair["chosen"]),
            "rejected": turns("assistant", pair["rejected"]),
        }
        for pair in pairs
    ]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as output:
        options = DPOConfig(
            output_dir=output,
            max_steps=1,
            per_device_train_batch_size=8,
            max_length=128,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
        )
        trainer = DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder),
            args=options,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[Stopwatch()],
        )
        trainer.train()


if __name__ == "__main__":
    main()
