"""Public models that no machine of ours holds, by the figures of their configurations, and the GPUs that would."""

from planning.facts import Matrix, ModelFacts
from planning.node import NodeFacts

GIB = 2**30


def llama_like(hidden: int, layers: int, inner: int, kv: int, vocabulary: int) -> ModelFacts:
    """`kv`: width of keys and values."""
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    matrices = [
        Matrix(name=f"model.layers.*.{name}", rows=rows, columns=columns, count=layers)
        for name, (rows, columns) in shapes.items()
    ]
    matrices += [
        Matrix(name=name, rows=vocabulary, columns=hidden, count=1) for name in ("model.embed_tokens", "lm_head")
    ]
    return ModelFacts(
        parameters=sum(each.rows * each.columns * each.count for each in matrices) + (2 * layers + 1) * hidden,
        dtype="bfloat16",
        architecture="LlamaForCausalLM",
        context_length=32_768,
        vocab_size=vocabulary,
        hidden_size=hidden,
        layers=layers,
        intermediate_size=inner,
        heads=hidden // 128,
        matrices=matrices,
    )


# Llama-3.1-8B and -70B; Qwen2.5-32B.
MODELS = {
    "8B": llama_like(4_096, 32, 14_336, 1_024, 128_256),
    "32B": llama_like(5_120, 64, 27_648, 1_024, 152_064),
    "70B": llama_like(8_192, 80, 28_672, 1_024, 128_256),
}
# What torch.cuda reports of them, in bytes.
GPUS = {"H100": 79 * GIB, "H200": 139 * GIB}


def gpu(name: str, count: int) -> NodeFacts:
    return NodeFacts(name=name, device="cuda", slots=count, memory_bytes=GPUS[name])
