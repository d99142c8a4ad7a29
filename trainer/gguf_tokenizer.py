"""The tokenizer that a GGUF file holds: what keeps it from being read as it is, and how it is read."""

import tempfile
from pathlib import Path
from typing import Any

from trainer.failures import of_the_node
from trainer.folder import first_line
from trainer.gguf_header import INSTEAD, Unfit, shown

# GPT-2's own rule of cutting a text into words; transformers knows many others by these names.
GPT2_RULES = {"default", "gpt-2", "gpt2"}
DIGITS_FIRST = "smollm"
# Of the tokens that are read by name; the end stands for itself.
IDS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eot", "eom", "unknown", "padding"))


def unfit(found: dict[str, Any]) -> list[str]:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    kind, tokens = found.get("tokenizer.ggml.model"), found.get("tokenizer.ggml.tokens")
    if not kind or not tokens:
        return ["it holds no tokenizer"]
    if kind not in ("gpt2", "llama"):
        return [f"its tokenizer is of a kind that is not read from GGUF ({shown(kind)})"]
    reasons = []
    if kind == "gpt2" and not found.get("tokenizer.ggml.merges"):
        reasons.append("its tokenizer has no merges")
    if kind == "llama" and not found.get("tokenizer.ggml.scores"):
        reasons.append("its tokenizer has no scores")
    rule = found.get("tokenizer.ggml.pre", "default")
    if kind == "gpt2" and rule not in {*GPT2_RULES, DIGITS_FIRST, *GGUF_PRE_TOKENIZER_SPLITS}:
        reasons.append(f"its tokenizer cuts texts by a rule that is not known here (tokenizer.ggml.pre: {shown(rule)})")
    eos = found.get("tokenizer.ggml.eos_token_id")
    if not isinstance(eos, int) or not 0 <= eos < len(tokens):
        reasons.append("it names no end token (tokenizer.ggml.eos_token_id)")
    reasons += [
        f"its {name} is {found[name]}, and its tokenizer has {len(tokens)} tokens"
        for name in IDS
        if name in found and not 0 <= found[name] < len(tokens)
    ]
    reasons += [
        f"its {name} has {len(found[name])} values for {len(tokens)} tokens"
        for name in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type")
        if found.get(name) and len(found[name]) != len(tokens)
    ]
    return reasons


def load(file: Path, found: dict[str, Any]) -> Any:
    """As transformers reads it, under a class that keeps its rules as they are when it is loaded again."""
    from tokenizers import normalizers, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        # Alone: what lies beside it may be another model's, and would take part.
        with tempfile.TemporaryDirectory() as alone:
            (Path(alone) / "model.gguf").symlink_to(file.resolve())
            read = AutoTokenizer.from_pretrained(
                alone, gguf_file="model.gguf", trust_remote_code=False, local_files_only=True
            )
    # The loader raises what it meets: ValueError, KeyError, or an exception of the Rust core.
    except Exception as error:
        message = f"The tokenizer of {file} cannot be read: {first_line(error)}. Rather {INSTEAD}."
        raise of_the_node(error) or Unfit(message) from error
    inner = read.backend_tokenizer
    if found["tokenizer.ggml.model"] == "gpt2" and found.get("tokenizer.ggml.pre") == DIGITS_FIRST:
        # Each digit by itself, then GPT-2's rule: what SmolLM2's own tokenizer.json says.
        digits = pre_tokenizers.Digits(individual_digits=True)
        inner.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if found["general.architecture"].startswith("qwen"):
        inner.normalizer = normalizers.NFC()
    special = {name: getattr(read, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **{name: token for name, token in special.items() if token is not None},
        chat_template=read.chat_template,
        clean_up_tokenization_spaces=False,
        model_max_length=int(found[f"{found['general.architecture']}.context_length"]),
    )
