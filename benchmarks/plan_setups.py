"""The runs of bench_plan: models, data and settings, small ones made here and SmolLM2 on real pairs."""

import random
from dataclasses import asdict, dataclass
from pathlib import Path

from core.contract.losses import LossName
from core.contract.preference import Message, Origin, PreferenceRecord
from tests.models import WORDS, make_tokenizer
from tests.pairs import write_records

STEPS, REAL_STEPS = 14, 8


@dataclass(frozen=True)
class Setup:
    """words: of the longest answer; batch: pairs a step."""

    hidden: int
    layers: int
    vocabulary: int
    words: int
    batch: int
    loss: LossName = "sigmoid"
    lora: bool = False
    precision: str = "fp32"
    data: str = ""

    @property
    def name(self) -> str:
        return "-".join(str(each) for each in asdict(self).values())


CALIBRATION = [
    Setup(128, 2, 1024, 60, 8),
    Setup(256, 4, 1024, 60, 8),
    Setup(256, 8, 4096, 120, 4),
    Setup(512, 4, 4096, 60, 8),
    Setup(384, 6, 1024, 30, 16),
    Setup(256, 4, 1024, 60, 8, lora=True),
]
FORECAST = [
    Setup(hidden, layers, vocabulary, words, batch, loss, lora)
    for hidden, layers, vocabulary, words, batch, loss, lora in [
        (128, 4, 1024, 60, 8, "sigmoid", False),
        (192, 4, 1024, 60, 8, "sigmoid", False),
        (256, 2, 1024, 60, 8, "ipo", False),
        (256, 6, 1024, 60, 8, "sigmoid", False),
        (256, 4, 4096, 60, 8, "sigmoid", False),
        (256, 4, 1024, 30, 8, "sigmoid", False),
        (256, 4, 1024, 120, 8, "sigmoid", False),
        (256, 4, 1024, 60, 4, "hinge", False),
        (256, 4, 1024, 60, 16, "sigmoid", False),
        (320, 4, 1024, 60, 8, "apo_zero", False),
        (384, 4, 1024, 60, 8, "sigmoid", False),
        (384, 8, 1024, 60, 4, "sigmoid", False),
        (512, 2, 1024, 60, 8, "sigmoid", False),
        (512, 4, 1024, 30, 8, "simpo", False),
        (512, 6, 1024, 60, 4, "sigmoid", False),
        (256, 4, 8192, 60, 8, "sigmoid", False),
        (256, 4, 1024, 60, 8, "orpo", False),
        (192, 6, 1024, 120, 4, "sigmoid", False),
        (384, 4, 1024, 60, 8, "sigmoid", True),
        (512, 4, 1024, 60, 4, "sigmoid", True),
    ]
]


def make_model(folder: Path, setup: Setup) -> Path:
    """A random Llama; its table may be larger than the tokenizer's."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=setup.vocabulary,
        hidden_size=setup.hidden,
        intermediate_size=setup.hidden * 3,
        num_hidden_layers=setup.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: p.detach() for name, p in model.named_parameters()}, folder / "model.safetensors", {"format": "pt"}
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def real_setups() -> list[Setup]:
    """Two jobs of each kind: short answers of one file, and dialogues of another."""
    return [
        Setup(576, 30, 49_152, words, batch, lora=lora, precision=precision, data=data)
        for precision in ("fp32", "bf16")
        for lora in (True, False)
        for data, words, batch in (("tone", 150, 8), ("hh", 250, 4))
    ]


def real_data(path: Path, setup: Setup) -> str:
    """Of a file's pairs, in its order, those of at most so many words."""
    from benchmarks.arms import work

    def words(record: PreferenceRecord) -> int:
        turns = [*record.prompt, *max(record.chosen, record.rejected, key=lambda turns: len(str(turns[-1].content)))]
        return sum(len(str(turn.content).split()) for turn in turns)

    found = [
        each for each in work.records(setup.data) if isinstance(each, PreferenceRecord) and words(each) <= setup.words
    ]
    return write_records(path, found[: setup.batch * REAL_STEPS])


def make_data(path: Path, setup: Setup) -> str:
    """Pairs of very different lengths, enough for all steps."""
    if setup.data:
        return real_data(path, setup)
    draw = random.Random(1)

    def say(role: str, words: int) -> Message:
        return Message(role=role, content=" ".join(draw.choices(WORDS, k=draw.randint(words // 4, words))))  # type: ignore[arg-type]

    records = [
        PreferenceRecord(
            id=str(n),
            prompt=[say("user", setup.words)],
            chosen=[say("assistant", setup.words)],
            rejected=[say("assistant", setup.words)],
            origin=Origin(line=n + 1, format="bench"),
        )
        for n in range(setup.batch * STEPS)
    ]
    return write_records(path, records)
