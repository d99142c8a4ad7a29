"""Architectures of transformers at real depth: 24 layers and more, narrow, initialised as transformers does it.

Random weights attend nearly evenly, so that a leak between documents stays small in them: what a zoo shows are names,
shapes, exports and exact tests, never that a fault exceeds a tolerance.
"""

from pathlib import Path
from typing import Any

from tests.models import make_tokenizer, write_model
from trainer.parts import persistent_buffers

LAYERS = 24
CONTEXT = 512
# Shorter than the longest pairs of the zoo's data, so that a layer that sees all is told from one that does not.
WINDOW = 48
LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
}
SIMPLE = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
ROPE_3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500000.0}
YARN = {"rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "rope_theta": 150000.0}
# name -> (transformers' model type, what of its configuration is not its own)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": LAYERS, "n_head": 4, "seq_length": CONTEXT}),
    "cohere": ("cohere", {**LLAMA, "use_qk_norm": True}),
    "cohere2": ("cohere2", {**LLAMA, "sliding_window": WINDOW}),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **LLAMA,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "ernie4_5": ("ernie4_5", {**LLAMA, "head_dim": 8, "tie_word_embeddings": True}),
    "falcon": (
        "falcon",
        {
            "hidden_size": 32,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "alibi": False,
            "new_decoder_architecture": False,
            "max_position_embeddings": CONTEXT,
        },
    ),
    "falcon_h1": (
        "falcon_h1",
        {
            **LLAMA,
            "mamba_d_ssm": 32,
            "mamba_n_heads": 4,
            "mamba_d_head": 8,
            "mamba_d_state": 8,
            "lm_head_multiplier": 0.5,
        },
    ),
    "gemma": ("gemma", {**LLAMA, "head_dim": 16}),
    "gemma2": ("gemma2", {**LLAMA, "head_dim": 16, "sliding_window": WINDOW}),
    "gemma3": ("gemma3_text", {**LLAMA, "head_dim": 16, "sliding_window": WINDOW}),
    "glm4": ("glm4", {**LLAMA, "head_dim": 8}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": CONTEXT}),
    "gpt_neox": ("gpt_neox", SIMPLE),
    "gpt_oss": (
        "gpt_oss",
        {
            **LLAMA,
            "head_dim": 8,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": WINDOW,
            "rope_parameters": {**YARN, "original_max_position_embeddings": 64},
        },
    ),
    "granite": (
        "granite",
        {
            **LLAMA,
            "embedding_multiplier": 12.0,
            "logits_scaling": 8.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.125,
            "tie_word_embeddings": True,
        },
    ),
    "llama": ("llama", {**LLAMA, "tie_word_embeddings": False}),
    "llama3": ("llama", {**LLAMA, "rope_parameters": {**ROPE_3, "original_max_position_embeddings": 64}}),
    "mamba": ("mamba", {"hidden_size": 32, "num_hidden_layers": LAYERS, "state_size": 8}),
    "mistral": ("mistral", {**LLAMA, "sliding_window": WINDOW}),
    "mixtral": ("mixtral", {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "mpt": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": LAYERS, "max_seq_len": CONTEXT, "expansion_ratio": 2}),
    "nemotron": ("nemotron", LLAMA),
    "olmo2": ("olmo2", LLAMA),
    "opt": (
        "opt",
        {
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 64,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT,
        },
    ),
    "phi": ("phi", {**LLAMA, "num_key_value_heads": 4, "partial_rotary_factor": 0.5}),
    "phi3": ("phi3", {**LLAMA, "sliding_window": WINDOW}),
    "qwen2": ("qwen2", {**LLAMA, "tie_word_embeddings": True}),
    "qwen2_moe": (
        "qwen2_moe",
        {
            **LLAMA,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 32,
        },
    ),
    "qwen3": ("qwen3", {**LLAMA, "head_dim": 16, "tie_word_embeddings": True}),
    "qwen3_moe": (
        "qwen3_moe",
        {
            **LLAMA,
            "head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "norm_topk_prob": True,
        },
    ),
    "smollm3": ("smollm3", {**LLAMA, "no_rope_layer_interval": 4}),
    "stablelm": ("stablelm", {**LLAMA, "use_qkv_bias": True, "partial_rotary_factor": 0.5}),
    "starcoder2": ("starcoder2", {**LLAMA, "sliding_window": WINDOW}),
}


def make_model(folder: Path, name: str) -> Path:
    """`name` of FAMILIES, in `folder` as published models lie there. Returns `folder`."""
    model = build(name)
    return write_model(folder, model, make_tokenizer(), published(model))


def build(name: str, seed: int = 0) -> Any:
    """In fp32, by the architecture's own initialisation."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, own = FAMILIES[name]
    tokenizer = make_tokenizer()
    special = {f"{each}_token_id": getattr(tokenizer, f"{each}_token_id") for each in ("bos", "eos", "pad")}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **special, dtype="float32", **own)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    return model


def published(model: Any) -> dict[str, Any]:
    """The tensors as files have them: each expert by itself, what is tied once, buffers that are weights too."""
    from transformers.core_model_loading import revert_weight_conversion

    once = {name for name, _ in model.named_parameters()} | {name for name, _ in persistent_buffers(model)}
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name in once}
    found = revert_weight_conversion(model, tensors)
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}
