"""Bytes of a rank, and the row budget that follows from them."""

import pytest

from core.contract.run_spec import Inspection, Lora, Settings
from planning.memory import (
    CPU_ROW_TOKENS,
    MOST_ROW_TOKENS,
    cpu_budget,
    memory,
    recomputes,
    room,
    row_budget,
    state_bytes,
    token_bytes,
)
from tests.unit.planning.known import GIB, INSPECTION, MODEL, node

FULL = Settings(batch_size=8)


def test_states_are_cut_over_the_ranks_and_activations_are_not() -> None:
    one, two = (memory(MODEL, FULL, ranks=ranks, row_tokens=1000, scored=500, device="cpu") for ranks in (1, 2))
    assert (one.weights, one.gradients, one.optimizer) == tuple(MODEL.parameters * each for each in (4, 4, 8))
    assert (two.weights, two.gradients, two.optimizer) == tuple(MODEL.parameters * each // 2 for each in (4, 4, 8))
    assert one.activations == two.activations == 1000 * token_bytes(MODEL, FULL, "cpu")
    # 10 hidden states and 4 of the feed-forward in 4 layers, and 4 hidden states around them, of 4 bytes.
    assert token_bytes(MODEL, FULL, "cuda") == (14 * 1024 * 4 + 4 * 1024) * 4
    assert token_bytes(MODEL, FULL, "cpu") == int(1.7 * token_bytes(MODEL, FULL, "cuda"))
    adapted = FULL.model_copy(update={"lora": Lora(r=8)})
    assert token_bytes(MODEL, adapted, "cuda") == 1.5 * token_bytes(MODEL, FULL, "cuda")


def test_what_was_exported_is_loaded_once_more() -> None:
    """On a CPU beside everything, twice (its file is mapped too); on a GPU where the activations were, or nowhere."""
    sizes = {"ranks": 2, "scored": 0}
    beside = memory(MODEL, FULL, row_tokens=1000, device="cpu", **sizes)  # type: ignore[arg-type]
    assert beside.verifying == 2 * 4 * MODEL.parameters
    instead = memory(MODEL, FULL, row_tokens=0, device="cuda", **sizes)  # type: ignore[arg-type]
    assert instead.verifying == 0


def test_half_precision_keeps_fp32_gradients_and_masters() -> None:
    half = memory(MODEL, FULL.model_copy(update={"precision": "bf16"}), ranks=1, row_tokens=0, scored=0, device="cpu")
    assert (half.weights, half.gradients + half.optimizer) == (MODEL.parameters * 2, MODEL.parameters * 16)


def test_lora_trains_little_and_holds_all() -> None:
    lora = FULL.model_copy(update={"lora": Lora(r=8)})
    found = memory(MODEL, lora, ranks=1, row_tokens=0, scored=0, device="cpu")
    adapter = 2 * 4 * 8 * 2048
    assert (found.weights, found.optimizer) == ((MODEL.parameters + adapter) * 4, adapter * 8)


def test_a_cpu_has_a_plain_budget_and_a_gpu_what_fits() -> None:
    assert row_budget(FULL, INSPECTION) == CPU_ROW_TOKENS
    assert row_budget(FULL, INSPECTION, facts=MODEL, node=node(64, device="cpu")) == CPU_ROW_TOKENS
    small = row_budget(FULL, INSPECTION, facts=MODEL, node=node(10))
    assert 1_000 < small < row_budget(FULL, INSPECTION, facts=MODEL, node=node(12)) < MOST_ROW_TOKENS
    assert row_budget(FULL, INSPECTION, facts=MODEL, node=node(80)) == MOST_ROW_TOKENS
    assert small == room(MODEL, FULL, ranks=1, memory_bytes=10 * GIB, device="cuda")
    fed = memory(MODEL, FULL, ranks=1, row_tokens=small, scored=1 << 20, device="cuda").total
    assert 0.8 * 10 * GIB < fed <= 0.9 * 10 * GIB


def test_a_row_of_a_deep_model_is_shorter_on_a_cpu() -> None:
    """What a token keeps, times the budget: 2 GiB; but at least 1,024 tokens."""
    budgets = [cpu_budget(MODEL.model_copy(update={"layers": layers}), FULL) for layers in (4, 12, 60)]
    kept = token_bytes(MODEL.model_copy(update={"layers": 12}), FULL, "cpu")
    assert budgets == [CPU_ROW_TOKENS, 2 * GIB // kept, 1_024]
    assert cpu_budget(None, FULL) == CPU_ROW_TOKENS


def test_a_budget_never_refuses_the_largest_example() -> None:
    assert row_budget(FULL, INSPECTION, facts=MODEL, node=node(1)) == 1_000


def test_layers_are_computed_again_only_where_the_largest_example_has_no_room() -> None:
    """All kept, a token takes 245,760 bytes; with the layers' inputs alone 90,112."""
    kept, again = token_bytes(MODEL, FULL, "cuda"), token_bytes(MODEL, FULL, "cuda", recompute=True)
    assert (kept, again) == (245_760, (14 * 1024 + 4 * 1024 + 4 * 1024) * 4)
    bare = memory(MODEL, FULL, ranks=1, row_tokens=0, scored=1 << 20, device="cuda")
    fixed = bare.total - bare.verifying
    for tokens, expected in ((1_001, False), (999, True)):
        close = node((fixed + tokens * kept) / 0.9 / GIB)
        assert recomputes(FULL, INSPECTION, ranks=1, facts=MODEL, node=close) is expected
        budget = row_budget(FULL, INSPECTION, facts=MODEL, node=close)
        assert budget == pytest.approx(tokens * (kept / again if expected else 1), abs=2)
    assert not recomputes(FULL, INSPECTION, ranks=1, facts=None, node=node(1))


@pytest.mark.parametrize(
    ("batch", "ranks", "budgets"), [(64, 1, [4_096, 2_048, 1_024, 512]), (4, 2, [4_096, 1_000, 500, 250])]
)
def test_a_halving_starts_from_what_is_really_fed(batch: int, ranks: int, budgets: list[int]) -> None:
    settings = FULL.model_copy(update={"batch_size": batch})
    assert [row_budget(settings, INSPECTION, ranks=ranks, halvings=n) for n in range(4)] == budgets


def test_without_figures_of_the_layouts_two_answers_of_the_most_are_taken() -> None:
    bare = Inspection(records=1, usable=1, max_length=300, context_length=300)
    assert row_budget(Settings(batch_size=1), bare, halvings=1) == 300


def test_a_resume_point_holds_twelve_bytes_of_each_weight_that_is_trained() -> None:
    assert state_bytes(MODEL, FULL) == 12 * MODEL.parameters
    adapted = FULL.model_copy(update={"lora": Lora(r=8)})
    assert 0 < state_bytes(MODEL, adapted) < state_bytes(MODEL, FULL) / 50
