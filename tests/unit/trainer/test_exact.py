"""The gates with limit zero: they let every family pass in both precisions, and catch each planted fault in both."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from core.contract.errors import BadModel
from core.contract.exits import Exit
from core.contract.run_spec import Settings
from tests.support import zoo
from tests.support.plain_engine import ALONE, PlainEngine
from tests.support.planted import ANYWHERE, FAULTS, leak, window_too_long
from tests.unit.trainer.test_scorer import (
    FAMILIES,
    SIZES,
    examples,
    falcon_h1,
    gpt_oss,
    mamba,
    mistral_with_a_window,
)
from trainer.data import Example
from trainer.exact import APART, Gate, has_experts, recorded, twin_examples
from trainer.failures import GateFailed, judge
from trainer.layouts import Batch, Layout, collate
from trainer.noise import FLOOR, GRADIENT_FLOOR, Noise, measured
from trainer.probe import Probe, cut, probe
from trainer.second_writing import disagreement, paths

CPU = torch.device("cpu")
ROWS: tuple[Layout, ...] = ("shared", "packed", "padded")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NOISE = {"fp32": Noise(2e-6, 2e-6), "bf16": Noise(1e-2, 1e-2)}


def gate(model: nn.Module, precision: str = "fp32", given: list[Example] | None = None) -> Gate:
    engine: Any = PlainEngine(model.to(DTYPES[precision]))
    given = given or examples()
    singles = [replace(e, answers=(answer,)) for e in given for answer in e.answers]
    alone = [engine.trace(collate([single], "padded", CPU), [1.0])[1][0].float() for single in singles]
    return Gate(engine, ALONE, given, alone, NOISE[precision])


def deep() -> nn.Module:
    """Attention that looks somewhere: of a plain random model it is even, and what leaks is small."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_hidden_layers": 4}, initializer_range=0.2))


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes(family: str, precision: str) -> None:
    torch.manual_seed(0)
    asked = gate(FAMILIES[family](), precision)
    assert {layout: asked.refuses(layout) for layout in ROWS} == dict.fromkeys(ROWS, "")


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_caught(fault: str, precision: str) -> None:
    model = deep()
    asked = gate(model, precision)
    with FAULTS[fault](model):
        assert asked.refuses("shared")
    assert not asked.refuses("shared")


@pytest.mark.parametrize("precision", DTYPES)
def test_a_leak_is_found_by_its_gradient_and_by_other_tokens(precision: str) -> None:
    model = deep()
    asked = gate(model, precision)
    batch = collate(asked.examples, "packed", CPU)
    with leak("document", 1, model):
        assert "has a gradient of" in asked.visibility(batch, "packed")
        assert "other tokens beside it" in asked.perturbation(batch, "packed")


@pytest.mark.parametrize("precision", DTYPES)
def test_positions_that_the_model_ignores_are_found_by_twins(precision: str) -> None:
    model = deep()
    asked = gate(model, precision)
    batch = collate(asked.examples, "shared", CPU)
    with FAULTS["positions ignored by the model"](model):
        assert "as if it counted along the row" in asked.twins(batch, "shared")


@pytest.mark.parametrize("precision", DTYPES)
def test_positions_ignored_behind_the_first_layer_are_found_by_the_twins_sums(precision: str) -> None:
    model = deep()
    asked = gate(model, precision)
    batch = collate(asked.examples, "shared", CPU)

    def drop(module: nn.Module, given: Any, named: dict[str, Any]) -> Any:
        length = named["hidden_states"].shape[1] if "hidden_states" in named else given[0].shape[1]
        body: Any = model.base_model
        return given, {
            **named,
            "position_embeddings": body.rotary_emb(torch.zeros(1, dtype=DTYPES[precision]), torch.arange(length)[None]),
        }

    hook = model.base_model.layers[2].register_forward_pre_hook(drop, with_kwargs=True)  # type: ignore[index,union-attr]
    assert "several sums" in asked.twins(batch, "shared")
    hook.remove()
    assert not asked.twins(batch, "shared")


@pytest.mark.parametrize("precision", DTYPES)
def test_positions_that_experts_would_hide_are_found(precision: str) -> None:
    """Sums of models with experts are compared within the noise, where a shift of a whole document lies."""
    torch.manual_seed(0)
    model = gpt_oss()
    asked = gate(model, precision)
    assert has_experts(model)
    assert not asked.refuses("shared")
    with FAULTS["positions ignored by the model"](model):
        assert "as if it counted along the row" in asked.refuses("shared")


@pytest.mark.parametrize("family", [mistral_with_a_window, gpt_oss])
@pytest.mark.parametrize("precision", DTYPES)
def test_a_window_one_too_long_is_found_in_its_kind_of_layer(family: Callable[[], nn.Module], precision: str) -> None:
    torch.manual_seed(0)
    model = family()
    asked = gate(model, precision)
    batch = collate(asked.examples, "shared", CPU)
    with window_too_long(model):
        assert "layers with a window of 5" in asked.kinds_of_layers(batch, "shared")
    assert not asked.kinds_of_layers(batch, "shared")


def test_each_kind_of_layer_is_looked_at_once() -> None:
    asked = gate(gpt_oss())
    with recorded() as calls:
        asked.engine.score_only(collate(asked.examples, "shared", CPU))
    assert sorted(call.kind for call in calls) == ["full layers and sinks", "layers with a window of 5 and sinks"]


@pytest.mark.parametrize("family", [mamba, falcon_h1])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_state_that_runs_on_is_seen_at_other_documents(family: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    asked = gate(family())
    batch = collate(asked.examples, "packed", CPU)
    assert "visibility: an answer's sum has a gradient" in asked.visibility(batch, "packed")
    assert not asked.refuses("padded")


def changed(batch: Batch, field: str, at: int, by: int) -> Batch:
    values = getattr(batch, field).clone()
    values.view(-1)[at] += by
    return replace(batch, **{field: values})


@pytest.mark.parametrize("layout", ROWS)
def test_the_second_writing_of_a_batch_agrees_and_sees_every_slip(layout: Layout) -> None:
    given = examples()
    batch = collate(given, layout, CPU)
    assert not disagreement(batch, given, layout)
    slips = [("ids", 3, 1), ("predictor", 5, 1), ("predictor", 0, 1), ("targets", 2, 1), ("sequence", 4, 1)]
    slips += [("place", 1, -1)] + [("attention", 2, -1)] * (layout == "padded")
    slips += [("positions", 9, 1), ("positions", 0, 1)] * (layout != "padded")
    for slip in slips:
        assert disagreement(changed(batch, *slip), given, layout), slip
    for name in ("document", "branch"):
        if batch.documents and not (layout == "packed" and name == "branch"):
            wrong = replace(batch.documents, **{name: getattr(batch.documents, name).roll(1)})
            assert "sees other tokens" in disagreement(replace(batch, documents=wrong), given, layout)


def test_an_answer_without_its_end_token() -> None:
    given = examples()
    batch = collate(given, "shared", CPU)
    ends = frozenset(answer.ids[-1] for example in given for answer in example.answers)
    assert not disagreement(batch, given, "shared", ends)
    assert "does not end with an end token" in disagreement(
        batch, given, "shared", ends - {given[2].answers[1].ids[-1]}
    )
    (first, second), *_ = (example.answers for example in given)
    short = replace(second, spans=((second.spans[0][0], len(second.ids) - 1),))
    cut = [replace(given[0], answers=(first, short)), *given[1:]]
    assert "the last token of answer 2 is not scored" in disagreement(collate(cut, "shared", CPU), cut, "shared")


@pytest.mark.parametrize("layout", ["shared", "packed"])
def test_twins_stand_where_every_kernel_cuts_alike(layout: Layout) -> None:
    given, places = twin_examples(examples(), layout, 64)
    answers = [answer for example in given for answer in example.answers]
    ways, batch = paths(given, layout), collate(given, layout, CPU)
    assert not disagreement(batch, given, layout)
    assert len({answers[place].ids for place in places}) == 1
    own = [ways[place][-(len(answers[place].ids) - 1 - given[0].prefix) :] for place in places]
    assert len({at[0] for at in own}) == len(places)
    assert all((at[0] - own[0][0]) % APART == 0 for at in own)
    assert batch.ids.numel() % APART == 0
    scored = [int((batch.sequence < place).sum()) for place in places]
    assert all(first % 16 == scored[0] % 16 for first in scored)


def test_noise_cannot_hold_what_leaks_from_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it measured among them, a leak would set the limit that has to find it."""
    for floor in (FLOOR, GRADIENT_FLOOR):
        monkeypatch.setitem(floor, "fp32", 0.0)
    model = deep()
    engine: Any = PlainEngine(model)
    singles = [replace(e, answers=(answer,)) for e in examples() for answer in e.answers]
    traced = [engine.trace(collate([single], "padded", CPU), [1.0]) for single in singles]
    sums, gradients = torch.stack([sums[0, 0] for sums, _ in traced]), [gradient[0] for _, gradient in traced]

    def noise() -> Noise:
        return measured(engine, ALONE, "fp32", singles, sums, gradients)

    right = noise()
    assert 1e-9 < right.sums < 1e-5
    assert 1e-9 < right.gradients < 1e-5
    for name in sorted(FAULTS.keys() - ANYWHERE):
        with FAULTS[name](model):
            assert noise() == right, name


@pytest.mark.parametrize(("precision", "advice"), [("fp32", False), ("bf16", True)])
def test_a_model_of_more_noise_than_can_be_trained_on(precision: str, advice: bool) -> None:
    """Its sums are moved by a nat, its gradients are others: refused with both numbers, never a traceback."""
    engine: Any = PlainEngine(deep())
    singles = [replace(e, answers=e.answers[:1]) for e in examples()]
    traced = [engine.trace(collate([single], "padded", CPU), [1.0]) for single in singles]
    sums, gradients = torch.stack([sums[0, 0] for sums, _ in traced]), [gradient[0] for _, gradient in traced]
    for off, wrong in ((2.5, gradients), (0.0, [-gradient for gradient in gradients]), (float("nan"), gradients)):
        with pytest.raises(BadModel) as caught:
            measured(engine, ALONE, precision, singles, sums + off, wrong)
        assert caught.value.code == "too_noisy"
        assert ("Train it in fp32." in caught.value.message) is advice


def probed(model: nn.Module, precision: str = "fp32", **update: Any) -> Probe:
    engine: Any = PlainEngine(model.to(DTYPES[precision]))
    spec: Any = SimpleNamespace(settings=Settings(precision=precision), **{"layout": "auto", **update})
    return probe(engine, ALONE, spec, examples())


@pytest.mark.parametrize("precision", DTYPES)
def test_a_head_that_is_not_the_model_s_own_is_left_aside(precision: str) -> None:
    """As of a family whose factor is not known: trained with the model's own logits, and told."""
    model: Any = deep()
    forward = model.forward

    def scaled(*args: Any, **given: Any) -> Any:
        found = forward(*args, **given)
        found.logits = found.logits * 0.5
        return found

    right = probed(deep(), precision)
    assert right.reason == ""
    model.forward = scaled
    found = probed(model, precision)
    assert found.layout == "shared"
    assert found.reason.startswith("The fused head is off by")
    assert found.errors["head"][0] > 8 * found.noise.sums > right.errors["head"][0]


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("fault", ["a neighbour's token visible in the last layer", "positions ignored by the model"])
def test_a_faulty_row_is_not_trained_in(fault: str, precision: str) -> None:
    """Another layout is, where one is right; or the run is refused, saying which part, what was found, what to do."""
    model = deep()
    with FAULTS[fault](model):
        found = probed(model, precision)
    assert found.layout == "padded"
    assert found.reason.startswith("shared: ")
    model = deep()
    with FAULTS[fault](model), pytest.raises(GateFailed, match=r"so nothing was trained: shared: .* please report"):
        probed(model, precision, layout="shared")


def test_a_model_that_bf16_cannot_hold_is_refused_there_and_trained_in_fp32() -> None:
    """Of random weights so large that its attention is all or nothing: rounding turns its gradients round."""
    from transformers import LlamaConfig, LlamaForCausalLM

    def chaotic() -> nn.Module:
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_hidden_layers": 8}, initializer_range=1.0))

    with pytest.raises(BadModel, match=r"In bf16, rounding alone moves .* Train it in fp32\.") as caught:
        probed(chaotic(), "bf16")
    assert judge(caught.value).exit == Exit.BAD_MODEL, "never tried again"
    assert probed(chaotic()).layout == "shared"


# Those that keep to their own attention, whatever they are asked; one whose body ends in fp32.
ODD = {("falcon", "fp32"), ("mpt", "bf16"), ("mamba", "bf16")}


@pytest.mark.parametrize(
    ("name", "precision"),
    [each if each in ODD else pytest.param(*each, marks=pytest.mark.slow) for each in product(zoo.FAMILIES, DTYPES)],
)
def test_each_architecture_of_the_zoo_has_a_layout(name: str, precision: str) -> None:
    model = zoo.build(name)
    model.requires_grad_(False)
    model.get_input_embeddings().weight.requires_grad_(True)
    assert probed(model, precision).layout in ("shared", "padded")


def test_one_example_alone_is_enough() -> None:
    engine: Any = PlainEngine(deep())
    spec: Any = SimpleNamespace(settings=Settings(), layout="auto")
    for example in examples():
        assert probe(engine, ALONE, spec, [example]).layout == "shared"


@pytest.mark.parametrize("limit", [3, 9, 100])
def test_what_is_cut_stays_an_example(limit: int) -> None:
    for example in examples():
        short = cut(example, limit)
        ends = frozenset(answer.ids[-1] for answer in example.answers)
        assert not disagreement(collate([short], "shared", CPU), [short], "shared", ends)
        assert short.longest <= limit
        assert limit < 100 or short == example
