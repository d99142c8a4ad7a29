"""Which layers LoRA adapts, and which names are refused."""

import pytest

from core.contract.errors import BadInput
from core.contract.run_spec import Lora
from planning.lora import PARAM, adapted, check, weights
from tests.unit.planning.known import MODEL


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
