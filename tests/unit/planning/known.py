"""A model, an inspection and nodes whose arithmetic can be done by hand."""

from core.contract.run_spec import Fed, Inspection
from planning.facts import Matrix, ModelFacts
from planning.node import Calibration, Cost, NodeFacts

GIB = 2**30
# Llama-like: hidden 1024, 4 layers.
MODEL = ModelFacts(
    parameters=75_497_472,
    dtype="float32",
    architecture="LlamaForCausalLM",
    context_length=4096,
    vocab_size=32_768,
    hidden_size=1024,
    layers=4,
    intermediate_size=1024,
    heads=8,
    matrices=[
        Matrix(name="model.embed_tokens", rows=32_768, columns=1024, count=1),
        Matrix(name="lm_head", rows=32_768, columns=1024, count=1),
        Matrix(name="model.layers.*.self_attn.q_proj", rows=1024, columns=1024, count=4),
        Matrix(name="model.layers.*.mlp.down_proj", rows=1024, columns=1024, count=4),
    ],
)
INSPECTION = Inspection(
    records=100,
    usable=100,
    max_length=512,
    context_length=4096,
    tokens=40_200,
    fed={
        "shared": Fed(tokens=30_000, largest=700),
        "packed": Fed(tokens=40_000, largest=1_000),
        "padded": Fed(tokens=50_000, largest=1_022),
    },
    scored_tokens=15_000,
    answers=200,
    squares=8_000_000,
)

COST = {"width": 1e-8, "layer": 1e-3, "choice": 1e-9}
COSTS = {
    "forward": Cost(weight=1e-11, logit=1e-12, **COST),
    "full": Cost(weight=3e-11, logit=3e-12, **COST),
    "lora": Cost(weight=2e-11, logit=2e-12, **COST),
}
# bf16 at twice the speed.
HALF = {kind: each.model_copy(update={"weight": each.weight / 2}) for kind, each in COSTS.items()}
CALIBRATION = Calibration.model_validate({"costs": {"fp32": COSTS, "bf16": HALF}, "update": 1e-9})


def node(gibibytes: float, *, device: str = "cuda", slots: int = 1) -> NodeFacts:
    return NodeFacts.model_validate(
        {"name": f"n{slots}", "device": device, "slots": slots, "memory_bytes": int(gibibytes * GIB)}
    )
