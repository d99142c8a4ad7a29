"""Which layers LoRA adapts, and which names are refused."""

import pytest

from core.contract.errors import BadInput
from core.contract.job_spec import DpoHyperparameters
from core.contract.run_spec import Lora
from planning.facts import Matrix
from planning.lora import PARAM, adapted, caution, check, weights
from planning.plan import make
from tests.unit.planning.known import INSPECTION, MODEL, node


def test_all_linear_layers_but_the_head() -> None:
    assert [each.name for each in adapted(MODEL, Lora())] == [
        "model.layers.*.self_attn.q_proj",
        "model.layers.*.mlp.down_proj",
    ]
    assert weights(MODEL, Lora(r=8)) == 2 * 4 * 8 * (1024 + 1024)


@pytest.mark.parametrize(
    "target",
    [
        "q_proj",
        "self_attn.q_proj",
        "model.layers.3.self_attn.q_proj",
        "layers.0.mlp.down_proj",
        "base.model.layers.0.mlp.down_proj",
    ],
)
def test_names_and_the_ends_of_names(target: str) -> None:
    check(MODEL, [target])
    assert len(adapted(MODEL, Lora(target_modules=[target]))) == 1


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("w_proj", "no linear layer `w_proj`; it has down_proj, q_proj."),
        ("proj", "no linear layer `proj`"),
        ("model.layers.4.self_attn.q_proj", "no linear layer"),
        ("lm_head", "a table of tokens"),
        ("embed_tokens", "a table of tokens"),
    ],
)
def test_what_cannot_be_adapted(target: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        check(MODEL, ["q_proj", target])
    assert (refused.value.code, refused.value.param) == (
        "lora_unfit" if "table" in says else "unknown_modules",
        f"{PARAM}.1",
    )
    assert says in refused.value.message


def test_a_head_that_is_stored_as_the_embeddings_is_still_no_layer_for_it() -> None:
    tied = MODEL.model_copy(update={"matrices": [each for each in MODEL.matrices if each.name != "lm_head"]})
    with pytest.raises(BadInput) as refused:
        check(tied, ["lm_head"])
    assert refused.value.code == "lora_unfit"


def experts() -> Matrix:
    return Matrix(name="model.layers.*.mlp.experts.*.up_proj", rows=64, columns=1024, count=32)


# As it is stored, a matrix an expert; and as the trainer builds it.
MIXED = MODEL.model_copy(
    update={
        "matrices": [*MODEL.matrices, experts()],
        "linear": [each for each in MODEL.matrices if each.name.endswith("_proj")],
        "experts": experts().size * 32,
    }
)


def test_the_layers_are_those_of_the_model_as_it_is_built() -> None:
    assert adapted(MIXED, Lora()) == MIXED.linear
    assert weights(MIXED, Lora(r=8)) == weights(MODEL, Lora(r=8))
    check(MIXED, ["q_proj"])
    with pytest.raises(BadInput, match="`up_proj` is in the model's files, but is no linear layer once") as refused:
        check(MIXED, ["up_proj"])
    assert (refused.value.code, refused.value.param) == ("unknown_modules", f"{PARAM}.0")
    with pytest.raises(BadInput, match="a table of tokens"):
        check(MIXED, ["lm_head"])
    # Of a model that was stored before its layers were known, the files' names are all there is.
    check(MIXED.model_copy(update={"linear": None}), ["up_proj"])


def test_who_adapts_a_model_of_experts_is_told_that_they_stay_as_they_are() -> None:
    assert caution(MODEL, Lora()) is None
    told = caution(MIXED, Lora(target_modules=["q_proj"]))
    assert told is not None
    assert "(2,097,152 of 75,497,472 weights)" in told
    assert told.endswith("Adapted: q_proj.")
    for lora, expected in (({}, [PARAM]), (None, [])):
        asked = DpoHyperparameters.model_validate({"lora": lora})
        plan = make(asked, "sigmoid", INSPECTION, MIXED, [node(80)])
        assert [each.param for each in plan.warnings if "experts" in each.message] == expected
