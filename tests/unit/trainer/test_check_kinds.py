"""Which kinds of models a folder may hold: language models that see nothing ahead, by class, configuration and name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.contract.errors import BadModel
from tests.models import (
    make_tiny_hybrid,
    make_tiny_mamba,
    make_tiny_model,
    make_tokenizer,
    write_model,
)
from tests.support.spoiled import change
from tests.unit.trainer.test_check import SIZES, codes, made
from trainer import check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model", tie=False)


@pytest.mark.parametrize("maker", [make_tiny_mamba, make_tiny_hybrid])
def test_models_without_plain_attention_are_causal_too(tmp_path: Path, maker: Callable[[Path], Path]) -> None:
    assert check.check(maker(tmp_path / "model")).faults == []


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "big_bird", "t5", "bart", "gpt_neox_japanese"])
def test_encoders_are_told_from_decoders(tmp_path: Path, kind: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    config = AutoConfig.for_model(kind, **SIZES, max_position_embeddings=64, d_model=32, decoder_layers=1)
    auto = {"t5": AutoModelForSeq2SeqLM, "bart": AutoModelForSeq2SeqLM, "gpt_neox_japanese": AutoModelForCausalLM}
    model = auto.get(kind, AutoModelForMaskedLM).from_config(config)
    model.config.architectures = [type(model).__name__]
    write_model(tmp_path / "model", model, make_tokenizer())
    built = check.check(tmp_path / "model")
    assert codes(built)[:1] == ([] if kind == "gpt_neox_japanese" else ["not_causal"])
    if built.faults:
        assert f"a model of type {kind!r}" in built.faults[0].message


def test_an_encoder_under_the_name_of_a_language_model_is_still_one(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    encoder = made(tmp_path / "encoder", BertConfig(**SIZES), BertLMHeadModel)
    assert codes(check.check(encoder)) == ["not_causal"]
    decoder = made(tmp_path / "decoder", BertConfig(**SIZES, is_decoder=True), BertLMHeadModel)
    assert check.check(decoder).faults == []


def test_the_rule_for_encoders_says_what_the_models_do(tmp_path: Path) -> None:
    """A token changed at the end moves the first token's logits in an encoder, and in no other."""
    from transformers import AutoConfig, AutoModelForCausalLM

    other = {"d_model": 32, "n_heads": 4, "n_head": 4, "n_layers": 1, "n_layer": 1, "d_inner": 48, "emb_dim": 32}
    for kind in (
        "bert",
        "megatron-bert",
        "rembert",
        "roformer",
        "xlm-roberta",
        "xlnet",
        "xlm",
        "gpt_neox_japanese",
        "mpt",
    ):
        sizes = other if kind in ("xlnet", "xlm", "mpt") else SIZES
        config = AutoConfig.for_model(kind, **{**sizes, "vocab_size": 320}, pad_token_id=0)
        model = AutoModelForCausalLM.from_config(config).eval()
        ids = torch.arange(4, 12)[None]
        changed = ids.clone()
        changed[0, -1] = 99
        with torch.no_grad():
            sees = not torch.equal(model(ids).logits[0, 0], model(changed).logits[0, 0])
        write_model(tmp_path / kind, model, make_tokenizer())
        change(tmp_path / kind, "config.json", architectures=[type(model).__name__])
        assert ("not_causal" in codes(check.check(tmp_path / kind, weights=False))) == sees, kind


@pytest.mark.parametrize("head", ["LlamaForSequenceClassification", "LlamaForTokenClassification", "LlamaRewardModel"])
def test_another_head_is_refused(folder: Path, head: str) -> None:
    change(folder, "config.json", architectures=[head])
    (fault,) = check.check(folder).faults
    assert (fault.code, head in fault.message) == ("not_causal", True)


def test_a_model_that_embeds_texts_is_refused_though_all_its_tensors_fit(tmp_path: Path) -> None:
    """The head of a tied model is its table of tokens: nothing is missing from the file."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

    config = Qwen3Config(**SIZES, head_dim=8, num_key_value_heads=2, tie_word_embeddings=True)
    embeds = made(tmp_path / "embeds", config, Qwen3Model)
    (fault,) = check.check(embeds).faults
    assert fault.code == "not_causal"
    assert "without a language model's head (`architectures`: Qwen3Model; with one it would be Qwen3ForCausalLM)" in (
        fault.message
    )
    assert check.check(made(tmp_path / "writes", config, Qwen3ForCausalLM)).faults == []


@pytest.mark.parametrize("name", ["NVEmbedModel", "LlamaEncoder", "LlamaBidirectionalForMNTP", "LlamaModel"])
def test_a_name_that_is_no_language_models_is_refused(folder: Path, name: str) -> None:
    change(folder, "config.json", architectures=[name])
    (fault,) = check.check(folder).faults
    assert (fault.code, f"`architectures`: {name};" in fault.message) == ("not_causal", True)
    change(folder, "config.json", architectures=[name, "LlamaForCausalLM"])
    assert check.check(folder).faults == []


def test_every_language_model_of_transformers_passes_by_its_name_and_none_by_its_body() -> None:
    from huggingface_hub.errors import StrictDataclassClassValidationError
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING
    from transformers.models.auto import modeling_auto

    passed = 0
    for kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        try:
            config = CONFIG_MAPPING[kind]()
        except StrictDataclassClassValidationError:  # its own defaults are none
            continue
        own = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__
        config.architectures = [own]
        try:
            check.refuse_other_kinds(config)
        except BadModel:
            assert config.is_encoder_decoder, kind
            continue
        passed += 1
        body = MODEL_MAPPING[type(config)].__name__ if type(config) in MODEL_MAPPING else own
        if body not in (own, "Llama4ForConditionalGeneration"):
            config.architectures = [body]
            with pytest.raises(BadModel, match="without a language model's head"):
                check.refuse_other_kinds(config)
    assert passed > 100


def test_a_model_that_sees_pictures_too_is_a_language_model(tmp_path: Path) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128}
    seen = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text, vision_config={**seen, "image_size": 28, "patch_size": 14}, mm_tokens_per_image=4
    )
    assert check.check(made(tmp_path / "sees", config, Gemma3ForConditionalGeneration)).faults == []
    for name in ("Qwen2VLForConditionalGeneration", "IdeficsForVisionText2Text"):
        config.architectures = [name]
        check.refuse_other_kinds(config)


def test_a_decoder_that_is_told_to_see_ahead_is_refused(folder: Path) -> None:
    change(folder, "config.json", is_causal=False)
    assert codes(check.check(folder)) == ["not_causal"]


@pytest.mark.parametrize(("told", "faults"), [(True, ["not_causal"]), (False, [])])
def test_a_gemma_that_is_told_to_see_ahead_is_refused(tmp_path: Path, told: bool, faults: list[str]) -> None:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(**SIZES, num_key_value_heads=2, head_dim=8, use_bidirectional_attention=told)
    assert codes(check.check(made(tmp_path / "model", config, Gemma3ForCausalLM))) == faults
