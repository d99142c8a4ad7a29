"""docs/gpus.md says what fits on which GPUs: by the plan, and the plan's bytes by hand."""

import pytest

from core.contract.job_spec import DpoHyperparameters
from core.contract.run_spec import Fed, Inspection
from planning.plan import Plan, make
from tests.conftest import ROOT
from tests.unit.planning.large import GIB, GPUS, MODELS, gpu

# UltraFeedback-like pairs (180 tokens of prompt, answers of 300); the largest example fills 2 x 2,048 tokens.
DATA = Inspection(
    records=10_000,
    usable=10_000,
    max_length=2_048,
    context_length=8_192,
    tokens=9_600_000,
    fed={
        "shared": Fed(tokens=7_800_000, largest=3_900),
        "packed": Fed(tokens=9_600_000, largest=4_096),
        "padded": Fed(tokens=12_000_000, largest=4_096),
    },
    scored_tokens=6_000_000,
    answers=20_000,
    squares=5_000_000_000,
)
RANKS = (1, 2, 4, 8)
CASES = [(model, method, name) for model in MODELS for method in ("full", "LoRA") for name in GPUS]


def planned(model: str, method: str, name: str, ranks: int) -> Plan:
    asked = DpoHyperparameters.model_validate({"lora": {}} if method == "LoRA" else {})
    return make(asked, "sigmoid", DATA, MODELS[model], [gpu(name, 8)], ranks=ranks)


def cell(plan: Plan) -> str:
    """GiB a rank, and how long a row may be there."""
    needed = f"{plan.memory.total / GIB:.0f}"
    if not plan.memory.fits:
        return f"no ({needed})"
    return f"{needed}{', layers again' if plan.recompute else ''}"


def test_the_page_is_what_the_plan_says() -> None:
    told = [
        f"| {model} | {method} | {name} | "
        + " | ".join(cell(planned(model, method, name, ranks)) for ranks in RANKS)
        + " |"
        for model, method, name in CASES
    ]
    page = (ROOT / "docs" / "gpus.md").read_text().splitlines()
    begin = page.index("| model | trained | GPU | 1 rank | 2 | 4 | 8 |") + 2
    assert page[begin : begin + len(told)] == told


# By hand, of the published sizes: 8.03, 32.8 and 70.6 thousand million parameters.
PARAMETERS = {"8B": 8.03e9, "32B": 32.8e9, "70B": 70.6e9}
# LoRA of rank 16 on all matrices: 16 x (rows + columns) of seven matrices a layer.
ADAPTERS = {
    "8B": 16 * 32 * (4 * 4_096 + 2 * (4_096 + 1_024) + 3 * (4_096 + 14_336)),
    "32B": 16 * 64 * (4 * 5_120 + 2 * (5_120 + 1_024) + 3 * (5_120 + 27_648)),
    "70B": 16 * 80 * (4 * 8_192 + 2 * (8_192 + 1_024) + 3 * (8_192 + 28_672)),
}


@pytest.mark.parametrize(("model", "method", "name"), CASES)
@pytest.mark.parametrize("ranks", RANKS)
def test_the_states_are_those_worked_by_hand(model: str, method: str, name: str, ranks: int) -> None:
    """bf16: 2 bytes a weight; 4 of gradient, 4 of master and 8 of moments for each that is trained, cut over ranks."""
    parts = planned(model, method, name, ranks).memory.parts
    trained = PARAMETERS[model] if method == "full" else ADAPTERS[model]
    held = 2 * (PARAMETERS[model] + (trained if method == "LoRA" else 0))
    assert parts.weights == pytest.approx(held / ranks, rel=0.01)
    assert parts.gradients + parts.optimizer == pytest.approx(16 * trained / ranks, rel=0.01)
    # The largest weight, gathered; twice where the next comes meanwhile.
    table = {"8B": 128_256 * 4_096, "32B": 152_064 * 5_120, "70B": 128_256 * 8_192}[model]
    assert parts.gathered == 2 * table * (2 if ranks > 1 else 1)


@pytest.mark.parametrize("name", GPUS)
def test_adapters_of_70b_fit_on_eight(name: str) -> None:
    """What rank 0's check needs is no reason to refuse a run: it falls back to the CPU."""
    plan = planned("70B", "LoRA", name, 8)
    assert plan.memory.fits, plan.memory.reason
    assert plan.row_tokens >= 4_096
    assert plan.hyperparameters["precision"] == "bf16"
