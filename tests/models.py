"""Tiny real models for tests: a random Llama and a trained BPE tokenizer, made by transformers, decided by the seed."""

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]
WORDS = (
    "the a fox ran over hill river night storm quietly opened door found silver key and then nobody knew why "
    "she waited until morning came with bright cold rain tell me story about small brave mouse who helped king "
    "what is capital of france paris yes no maybe because it was wonderful terrible boring strange good bad"
).split()


def make_tiny_model(folder: Path, seed: int = 0, *, template: str | None = CHAT_TEMPLATE, tie: bool = True) -> Path:
    """A Llama of about 0.1 M parameters, context 256, vocabulary 320, in `folder` as safetensors. Returns `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tie,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return write_model(folder, LlamaForCausalLM(config), tokenizer)


def make_tiny_sentencepiece(folder: Path, *, kind: str = "bpe") -> Path:
    """The tiny Llama as older releases came: of its tokenizer there is a trained SentencePiece model, and settings."""
    import io
    import json

    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]),
        model_writer=made,
        model_type=kind,
        vocab_size=320,
        byte_fallback=True,
        # As Llama's was trained.
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    make_tiny_model(folder, template=None)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "tokenizer.model").write_bytes(made.getvalue())
    settings = {
        "tokenizer_class": "LlamaTokenizer" if kind == "bpe" else "T5Tokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "chat_template": "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"
        "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name in ("config.json", "generation_config.json"):
        told = json.loads((folder / name).read_text()) | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
        (folder / name).write_text(json.dumps(told))
    return folder


def make_tiny_hybrid(folder: Path) -> Path:
    """Falcon-H1: beside its attention, a state that runs on from one document of a packed row into the next."""
    import torch
    from transformers import FalconH1Config, FalconH1ForCausalLM

    tokenizer = make_tokenizer()
    config = FalconH1Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        mamba_d_ssm=32,
        mamba_n_heads=4,
        mamba_d_head=8,
        mamba_d_state=8,
        lm_head_multiplier=0.5,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        architectures=["FalconH1ForCausalLM"],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return write_model(folder, FalconH1ForCausalLM(config), tokenizer)


def make_tiny_mamba(folder: Path) -> Path:
    """No attention at all: a state that runs on, and no length at which it ends."""
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = make_tokenizer()
    config = MambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        architectures=["MambaForCausalLM"],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return write_model(folder, MambaForCausalLM(config), tokenizer)


def write_model(folder: Path, model: Any, tokenizer: Any, tensors: dict[str, Any] | None = None) -> Path:
    """`tensors`: those of the file, where they are not the parameters under their names in memory."""
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    config = model.config
    folder.mkdir(parents=True, exist_ok=True)
    # Not model.save_pretrained: it imports accelerate and deepspeed, four seconds for a model of 400 kB.
    tensors = tensors or {name: p.detach() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    GenerationConfig(**{name: getattr(config, name, None) for name in names}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(template: str | None = CHAT_TEMPLATE):  # type: ignore[no-untyped-def]
    """A byte-level BPE of 320 tokens with `<s>`, `<|end|>`, `<pad>` and role marks as special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "<|end|>", "<pad>", *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator((" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        additional_special_tokens=ROLES,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer
