"""Models of the shape of public 8B ones, their weights drawn on the spot; and pairs for them.

The noise of a random model is not a trained one's: only names, shapes, speed, memory and the exact gates say something.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.contract.preference import Message, Origin, PreferenceRecord
from tests.gpu.check.part import GB, Asked, NotHere, Progress
from tests.models import WORDS, make_tokenizer

# The published config.json of each, without what says nothing of its shape.
ALIKE = {
    "attention_bias": False,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "head_dim": 128,
    "initializer_range": 0.02,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-8b": {
        **ALIKE,
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "intermediate_size": 12_288,
        "max_position_embeddings": 40_960,
        "num_hidden_layers": 36,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000,
        "use_sliding_window": False,
        "vocab_size": 151_936,
    },
    "llama-3.1-8b": {
        **ALIKE,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "intermediate_size": 14_336,
        "max_position_embeddings": 131_072,
        "mlp_bias": False,
        "num_hidden_layers": 32,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500_000.0,
        "vocab_size": 128_256,
    },
}
# The same families for a look at the check itself.
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "initializer_range": 0.1,
}
SHARD_BYTES = {"8b": 2 << 30, "tiny": 100_000}
# (tokens of a prompt, of an answer): as UltraFeedback's.
LENGTHS = {"8b": (180, 300), "tiny": (12, 20)}


def config(shape: str, size: str) -> dict[str, Any]:
    return {**SHAPES[shape], **(TINY if size == "tiny" else {})}


def tensors(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of each weight, as transformers builds the model, none of it in memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    named = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **named))
    return {name: tuple(each.shape) for name, each in model.named_parameters()}


def model(asked: Asked) -> Path:
    """The folder, made where it is not there yet."""
    import torch
    from safetensors.torch import save_file

    folder = asked.folder / f"{asked.shape}-{asked.size}"
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    described = {**config(asked.shape, asked.size), **ends}
    found = tensors(described)
    whole = sum(2 * elements(shape) for shape in found.values())
    enough_room(folder, 3 * whole, "the model and what is exported of it")
    progress, done, weight_map = Progress(), 0, {}
    draw = torch.Generator(asked.device).manual_seed(0)
    shards = list(parted(found, SHARD_BYTES[asked.size]))
    for number, names in enumerate(shards, start=1):
        made = {}
        for name in names:
            made[name] = torch.ones(found[name], dtype=torch.bfloat16)
            if len(found[name]) > 1:
                drawn = torch.randn(found[name], generator=draw, dtype=torch.bfloat16, device=asked.device)
                made[name] = drawn.mul_(described["initializer_range"]).cpu()
            done += 2 * elements(found[name])
            progress.tell(f"drawing the weights of {asked.shape}: {bar(done, whole)}")
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(made, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    if asked.cuda:
        torch.cuda.empty_cache()
    progress.end()
    index = {"metadata": {"total_size": whole}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "generation_config.json").write_text(json.dumps(ends))
    tokenizer.save_pretrained(folder)
    # The last file: the folder is whole.
    (folder / "config.json").write_text(json.dumps(described, indent=2))
    return folder


def enough_room(folder: Path, needed: int, what: str) -> None:
    import shutil

    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NotHere(f"{what} take {needed / GB:.0f} GB of disk, {free / GB:.0f} GB are free: name another --folder")


def elements(shape: tuple[int, ...]) -> int:
    found = 1
    for each in shape:
        found *= each
    return found


def parted(found: dict[str, tuple[int, ...]], limit: int) -> Iterator[list[str]]:
    """Names of each file, of at most `limit` bytes where it holds more than one."""
    names: list[str] = []
    held = 0
    for name, shape in found.items():
        size = 2 * elements(shape)
        if names and held + size > limit:
            yield names
            names, held = [], 0
        names.append(name)
        held += size
    yield names


def bar(done: float, whole: float, width: int = 20) -> str:
    full = int(width * done / max(1, whole))
    return f"[{'#' * full}{'.' * (width - full)}] {done / GB:.1f} of {whole / GB:.1f} GB"


def pairs(count: int, size: str, seed: int = 0) -> list[PreferenceRecord]:
    """Of one length each, in tokens of the tokenizer of tests.models."""
    tokenizer, draw = make_tokenizer(), random.Random(seed)
    prompt, answer = LENGTHS[size]

    def text(tokens: int) -> str:
        ids = tokenizer(" ".join(draw.choices(WORDS, k=tokens)), add_special_tokens=False)["input_ids"]
        return str(tokenizer.decode(ids[:tokens])).strip()

    def said(role: Any, tokens: int) -> list[Message]:
        return [Message(role=role, content=text(tokens))]

    return [
        PreferenceRecord(
            id=f"pair-{number}",
            prompt=said("user", prompt),
            chosen=said("assistant", answer),
            rejected=said("assistant", answer),
            origin=Origin(line=number + 1, format="gpu-check"),
        )
        for number in range(count)
    ]
