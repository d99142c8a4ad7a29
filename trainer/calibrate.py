"""`python -m trainer calibrate`: what passes through a model cost on this node, measured in seconds; JSON on stdout.

A run's own parts, without DeepSpeed: a layer of a Llama with our attention, the fused head, AdamW. Two widths tell what
multiplies (a cost for each weight) from what only passes by (for each unit of width), a row of few tokens what a layer
costs whatever its size. planning.time puts them together to forecasts before any job was measured here.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.contract.run_spec import Lora
from planning.node import Calibration, Cost, Pass
from trainer import lora
from trainer.data import Example
from trainer.head import Head, Transform
from trainer.layouts import collate
from trainer.model import DTYPES
from trainer.render import Answer
from trainer.scorer import Scorer

# By device: two widths, tokens of a row, rows and columns of the logits, parameters of an update.
SIZES = {"cpu": ((256, 768), 96, 64, 8_192, 2**21), "cuda": ((1024, 4096), 2_048, 1_024, 65_536, 2**26)}
FEW_TOKENS = 16
TRIES = 3
PASSES: tuple[Pass, ...] = ("forward", "full", "lora")


def main() -> int:
    print(calibrate(torch.device("cuda" if torch.cuda.is_available() else "cpu")).model_dump_json())
    return 0


def calibrate(device: torch.device) -> Calibration:
    torch.manual_seed(0)
    costs = {precision: {kind: cost(kind, precision, device) for kind in PASSES} for precision in ("fp32", "bf16")}
    return Calibration(costs=costs, update=update(device))


def cost(kind: Pass, precision: str, device: torch.device) -> Cost:
    (narrow, wide), tokens, rows, columns, _ = SIZES[device.type]
    few = body(kind, precision, narrow, FEW_TOKENS, device)
    many, more = (body(kind, precision, width, tokens, device) for width in (narrow, wide))
    a_token = (many - few) / (tokens - FEW_TOKENS)
    layer = max(0.0, few - FEW_TOKENS * a_token)
    weight, unit = split(a_token, (more - layer) / tokens, narrow, wide, weights(narrow) / narrow)
    small, large = (
        logits(kind, precision, width, rows, columns, device) / (rows * columns) for width in (narrow, wide)
    )
    logit, choice = split(small, large, narrow, wide, None)
    return Cost(weight=weight, width=unit, layer=layer, logit=logit, choice=choice)


def split(small: float, large: float, narrow: int, wide: int, weights_a_unit: float | None) -> tuple[float, float]:
    """Of seconds a token at two widths: those of each weight and of each unit of width, where weights grow with its
    square (`weights_a_unit` at the narrow one); or of each column of width and what is left at width 0."""
    if weights_a_unit is None:
        slope = max(0.0, (large - small) / (wide - narrow))
        return slope, max(0.0, small - slope * narrow)
    a, b = small / narrow, large / wide
    growth = weights_a_unit * (wide / narrow - 1)
    slope = max(0.0, (b - a) / growth)
    rest = a - slope * weights_a_unit
    return (slope, rest) if rest >= 0 else (b / (weights_a_unit * wide / narrow), 0.0)


def weights(width: int) -> int:
    """Of the layer's matrices."""
    return 4 * width * width + 3 * width * inner(width)


def inner(width: int) -> int:
    return 8 * width // 3 // 64 * 64


def body(kind: Pass, precision: str, width: int, tokens: int, device: torch.device) -> float:
    """Seconds of one layer for a pair that shares its prompt."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=width,
        intermediate_size=inner(width),
        num_hidden_layers=1,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
    )
    causal: nn.Module = LlamaForCausalLM(config).to(device, DTYPES[precision])
    if kind == "lora":
        lora.inject(causal, Lora(), 0)
        causal = causal.to(DTYPES[precision])
    scorer = Scorer(causal)
    part = tokens // 4
    ids = tuple(range(1, 61)) * (tokens // 60 + 1)
    answers = tuple(Answer(ids[: 3 * part + 1], ((2 * part, 3 * part + 1),)) for _ in range(2))
    batch = collate([Example("", 1, 2 * part, answers)], "shared", device)
    return quickest(kind, lambda: scorer(batch).sum(), scorer, device)


def logits(kind: Pass, precision: str, width: int, rows: int, columns: int, device: torch.device) -> float:
    """Seconds of the fused head."""
    dtype = DTYPES[precision]
    linear = nn.Linear(width, columns, bias=False, device=device, dtype=dtype).requires_grad_(kind == "full")
    head = Head(linear, Transform())
    hidden = torch.randn(rows, width, device=device, dtype=dtype, requires_grad=True)
    targets = torch.arange(rows, device=device)
    return quickest(kind, lambda: head(hidden, targets).sum(), head, device)


def quickest(kind: Pass, forward: Callable[[], Tensor], module: nn.Module, device: torch.device) -> float:
    def once() -> None:
        if kind == "forward":
            with torch.no_grad():
                forward()
            return
        module.zero_grad()
        forward().backward()  # type: ignore[no-untyped-call]

    return best(once, device)


def update(device: torch.device) -> float:
    """Seconds of AdamW a parameter."""
    count = SIZES[device.type][-1]
    parameter = nn.Parameter(torch.zeros(count, device=device))
    parameter.grad = torch.ones(count, device=device)
    optimizer = torch.optim.AdamW([parameter], fused=True)
    return best(lambda: optimizer.step(), device) / count


def best(once: Callable[[], object], device: torch.device) -> float:
    """The first try fills caches. On a CPU this process's own time counts: what else runs on the node does not."""
    found = []
    for _ in range(TRIES):
        began = clock(device)
        once()
        found.append(clock(device) - began)
    return min(found)


def clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time() / torch.get_num_threads()
    torch.cuda.synchronize()
    return time.perf_counter()
