"""GGUF files of tiny models, made with the gguf library."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.models import CHAT_TEMPLATE, make_tokenizer

HIDDEN, HEADS, GROUPS, INNER, LAYERS = 32, 4, 2, 48, 2


class File:
    """A file before it is written: entries by key, tensors by name."""

    def __init__(self, kind: str = "llama") -> None:
        self.kind, self.name = kind, "a small model"
        tokenizer = make_tokenizer()
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda each: each[1])
        self.tokens = [token for token, _ in vocabulary]
        special = set(tokenizer.all_special_tokens)
        merges = [" ".join(pair) for pair in merges_of(tokenizer)]
        self.entries: dict[str, Any] = {
            "context_length": 128,
            "block_count": LAYERS,
            "embedding_length": HIDDEN,
            "feed_forward_length": INNER,
            "attention.head_count": HEADS,
            "attention.head_count_kv": GROUPS,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.freq_base": 5000.0,
            "rope.dimension_count": HIDDEN // HEADS,
            "vocab_size": len(self.tokens),
        }
        if kind != "llama":
            del self.entries["rope.dimension_count"], self.entries["vocab_size"]
        self.tokenizer: dict[str, Any] = {
            "ggml.model": "gpt2",
            "ggml.pre": "qwen2" if kind.startswith("qwen") else "llama-bpe",
            "ggml.tokens": self.tokens,
            "ggml.token_type": [3 if token in special else 1 for token in self.tokens],
            "ggml.merges": merges,
            "ggml.bos_token_id": tokenizer.bos_token_id,
            "ggml.eos_token_id": tokenizer.eos_token_id,
            "ggml.padding_token_id": tokenizer.pad_token_id,
            "chat_template": CHAT_TEMPLATE,
        }
        self.others: dict[str, Any] = {}
        self.tensors = tensors_of(kind, len(self.tokens))

    def write(self, path: Path) -> Path:
        from gguf import GGUFWriter

        writer = GGUFWriter(path, self.kind)
        writer.add_name(self.name)
        for name, value in self.entries.items():
            add(writer, f"{self.kind}.{name}", value)
        for name, value in self.tokenizer.items():
            add(writer, f"tokenizer.{name}", value)
        for name, value in self.others.items():
            # The writer names the architecture by itself, and refuses a name twice.
            writer.kv_data[0].pop(name, None)
            add(writer, name, value)
        for name, tensor in self.tensors.items():
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def add(writer: Any, key: str, value: Any) -> None:
    kinds = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32, list: writer.add_array}
    kinds[type(value)](key, value)


def merges_of(tokenizer: Any) -> list[list[str]]:
    found: list[list[str]] = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return found


def tensors_of(kind: str, vocabulary: int) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(1)
    groups = HIDDEN // HEADS * GROUPS

    def matrix(*shape: int) -> np.ndarray:
        return drawn.normal(0, 0.2, shape).astype(np.float32)

    found = {"token_embd.weight": matrix(vocabulary, HIDDEN), "output_norm.weight": matrix(HIDDEN)}
    for n in range(LAYERS):
        layer = {
            "attn_norm.weight": matrix(HIDDEN),
            "attn_q.weight": matrix(HIDDEN, HIDDEN),
            "attn_k.weight": matrix(groups, HIDDEN),
            "attn_v.weight": matrix(groups, HIDDEN),
            "attn_output.weight": matrix(HIDDEN, HIDDEN),
            "ffn_norm.weight": matrix(HIDDEN),
            "ffn_gate.weight": matrix(INNER, HIDDEN),
            "ffn_up.weight": matrix(INNER, HIDDEN),
            "ffn_down.weight": matrix(HIDDEN, INNER),
        }
        if kind == "qwen2":
            layer |= {"attn_q.bias": matrix(HIDDEN), "attn_k.bias": matrix(groups), "attn_v.bias": matrix(groups)}
        if kind == "qwen3":
            layer |= {"attn_q_norm.weight": matrix(HIDDEN // HEADS), "attn_k_norm.weight": matrix(HIDDEN // HEADS)}
        found |= {f"blk.{n}.{name}": value for name, value in layer.items()}
    return found
