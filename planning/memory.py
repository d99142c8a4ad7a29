"""Bytes that one rank needs, part by part, and the row budget that fits beside what does not depend on it.

ZeRO-3 (Rajbhandari et al. 2020): weights, gradients and optimizer states are cut over the ranks. The activations of a
row are kept whole for its backward; only where not even the largest example has room so, each layer keeps its input
alone and is computed again there (`recomputes`).
"""

from pydantic import BaseModel

from core.contract.run_spec import Inspection, Settings
from planning import lora
from planning.facts import ModelFacts
from planning.node import NodeFacts
from planning.resolve import CPU_ROW_TOKENS, LEAST_CPU_ROW_TOKENS, halved

# Of a GPU's memory, what is left to the allocator's fragments and to the driver.
USABLE = 0.9
MOST_ROW_TOKENS = 32_768
# Of a CPU's memory, what the activations of a row take at most, if it has more than the least tokens.
CPU_ROW_BYTES = 2 << 30
# What a process has before it loads a model. CPU: seen (interpreter, torch, transformers, DeepSpeed: 437 MiB, and the
# process group); with a GPU's context and NCCL's buffers: estimated.
RUNTIME_BYTES = {"cpu": 480 << 20, "cuda": 2_560 << 20}
# The fused head (trainer.head): the tables it keeps for the backward, and three tiles at work.
HEAD_KEPT_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
HEAD_TILES_BYTES = {"cpu": 96 << 20, "cuda": 3 << 30}
BYTES = {"fp32": 4, "bf16": 2}
# Of what `token_bytes` counts, what is really kept. CPU: fitted to the peaks of six runs (benchmarks/bench_plan.py):
# attention that is cut into branches holds their trunk's keys and values once more. GPU: not measured.
ACTIVATIONS = {"cpu": 1.7, "cuda": 1.0}
# Adapters keep what flows through them beside what the frozen weights keep (seen: 1.4 and 1.6 times).
ADAPTED = 1.5


class Memory(BaseModel):
    """Bytes of one rank. `activations` and `head` are those of a row of `row_tokens`."""

    runtime: int
    weights: int
    gradients: int
    optimizer: int
    gathered: int
    buckets: int
    head: int
    activations: int
    verifying: int

    @property
    def total(self) -> int:
        return sum(self.model_dump().values())


def memory(
    facts: ModelFacts,
    settings: Settings,
    *,
    ranks: int,
    row_tokens: int,
    scored: int,
    device: str,
    recompute: bool = False,
) -> Memory:
    """`row_tokens` are fed at once, `scored` of them seen by the loss.

    `verifying`: rank 0 loads what was exported once more. On a CPU its file stays mapped beside it; a GPU takes it
    where the activations were, or leaves it to the CPU (trainer.verify), and so needs nothing for it.
    """
    width = BYTES[settings.precision]
    weights = trained(facts, settings)
    hidden = facts.hidden_size or 1024
    vocabulary = facts.vocab_size or 32_768
    table = vocabulary * hidden
    bucket = max(hidden * hidden, 1 << 20)
    kept = min(HEAD_KEPT_BYTES[device], scored * vocabulary * width) if settings.lora is None else 0
    tiles = min(HEAD_TILES_BYTES[device], 3 * scored * vocabulary * 4)
    # The gradient of the head's weight is summed in fp32 before it joins the others; on a GPU, where it is rounded to
    # bf16 on the way, both lie beside the activations.
    summed = 4 + (width if device == "cuda" and width < 4 else 0)
    head = kept + tiles + (table * summed if settings.lora is None else 0)
    activations = row_tokens * token_bytes(facts, settings, device, recompute)
    again = facts.parameters * width
    return Memory(
        runtime=RUNTIME_BYTES[device],
        weights=(facts.parameters + (weights if settings.lora else 0)) * width // ranks,
        gradients=4 * weights // ranks,
        # In fp32 the masters are the weights (trainer.engine); the moments are fp32 in any case.
        optimizer=(8 if settings.precision == "fp32" else 12) * weights // ranks,
        gathered=2 * largest(facts) * width if ranks > 1 else largest(facts) * width,
        buckets=4 * bucket * 4,
        head=head,
        activations=activations,
        verifying=2 * again if device == "cpu" else 0,
    )


def trained(facts: ModelFacts, settings: Settings) -> int:
    """Weights that have a gradient."""
    return facts.parameters if settings.lora is None else lora.weights(facts, settings.lora)


def state_bytes(facts: ModelFacts, settings: Settings) -> int:
    """Of a resume point, all ranks together: of each trained weight its fp32 master and two moments."""
    return 12 * trained(facts, settings)


def largest(facts: ModelFacts) -> int:
    """Elements of the largest weight, which a forward gathers whole."""
    sizes = [each.size for each in facts.matrices]
    return max(sizes, default=(facts.vocab_size or 32_768) * (facts.hidden_size or 1024))


def token_bytes(facts: ModelFacts, settings: Settings, device: str, recompute: bool = False) -> int:
    """Kept of one token for the backward: a layer's norms, projections and gated feed-forward, in every layer.

    About 10 hidden states and 4 of the feed-forward's width (Korthikanti et al. 2022 count 17 for a plain layer whose
    feed-forward is 4 hidden states wide, without attention scores, which are computed again). `recompute`: of every
    layer its input, and the whole of the one at work.
    """
    hidden = facts.hidden_size or 1024
    inner = facts.intermediate_size or 4 * hidden
    a_layer, layers = 10 * hidden + 4 * inner, facts.layers or 24
    kept = a_layer + hidden * layers if recompute else a_layer * layers
    factor = ACTIVATIONS[device] * (1.0 if settings.lora is None else ADAPTED)
    return int((kept + 4 * hidden) * BYTES[settings.precision] * factor)


def row_budget(
    settings: Settings,
    inspection: Inspection,
    *,
    ranks: int = 1,
    facts: ModelFacts | None = None,
    node: NodeFacts | None = None,
    halvings: int = 0,
) -> int:
    """RunSpec.row_tokens: what the memory has room for, on a CPU 1,024 to 4,096; halved after out-of-memory.

    A halving starts from what a step really feeds a rank: halving a budget that nothing fills would change nothing.
    """
    device = "cpu" if node is None else node.device
    budget = cpu_budget(facts, settings) if device == "cpu" else MOST_ROW_TOKENS
    available = None if node is None else node.room(ranks)
    if facts is not None and available is not None:
        again = recomputes(settings, inspection, ranks=ranks, facts=facts, node=node)
        fits = room(facts, settings, ranks=ranks, memory_bytes=available, device=device, recompute=again)
        budget = max(largest_example(inspection), min(budget, fits))
    if halvings:
        share = -(-settings.batch_size // ranks) * largest_example(inspection)
        budget = halved(min(budget, share), halvings)
    return budget


def cpu_budget(facts: ModelFacts | None, settings: Settings) -> int:
    """Of a machine whose memory is no limit."""
    if facts is None:
        return CPU_ROW_TOKENS
    tokens = CPU_ROW_BYTES // token_bytes(facts, settings, "cpu")
    return max(LEAST_CPU_ROW_TOKENS, min(CPU_ROW_TOKENS, tokens))


def recomputes(
    settings: Settings, inspection: Inspection, *, ranks: int, facts: ModelFacts | None, node: NodeFacts | None
) -> bool:
    """RunSpec.recompute: whether the largest example has no room with the activations of every layer kept."""
    available = None if node is None else node.room(ranks)
    if facts is None or node is None or available is None:
        return False
    return room(facts, settings, ranks=ranks, memory_bytes=available, device=node.device) < largest_example(inspection)


def room(
    facts: ModelFacts, settings: Settings, *, ranks: int, memory_bytes: int, device: str, recompute: bool = False
) -> int:
    """Tokens of the largest row that fits; 0 where the model alone does not."""
    bare = memory(facts, settings, ranks=ranks, row_tokens=0, scored=1 << 20, device=device)
    usable = int(USABLE * memory_bytes)
    if bare.total > usable:
        return 0
    return (usable - bare.total) // token_bytes(facts, settings, device, recompute)


def largest_example(inspection: Inspection) -> int:
    """Tokens fed for the largest example, in the layout that shares least; without figures, two answers of the most."""
    found = inspection.fed.get("packed")
    return found.largest if found else 2 * inspection.max_length
