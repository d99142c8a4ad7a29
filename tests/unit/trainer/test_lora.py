"""Where LoRA goes, where it refuses to go, and that a fresh adapter changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.contract.errors import BadModel
from core.contract.run_spec import Lora
from tests.models import make_tiny_model
from tests.support import zoo
from trainer import lora

IDS = torch.tensor([[5, 9, 200, 31, 7]])


def llama(tie: bool = True) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=tie,
        )
    ).eval()


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=256, n_embd=32, n_layer=2, n_head=4, n_positions=64)).eval()


def stir(model: nn.Module) -> None:
    """An adapter as if trained."""
    generator = torch.Generator().manual_seed(1)
    for _, layer in lora.layers(model):
        weight = layer.lora_B[lora.NAME].weight
        weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.1)


@pytest.mark.parametrize("tie", [True, False])
def test_all_linear_layers_but_the_head(tie: bool) -> None:
    model = llama(tie)
    config = lora.inject(model, Lora(r=4), seed=1)
    names = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert sorted(config.target_modules) == names
    assert len(list(lora.layers(model))) == 2 * len(names)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trainable) == 2 * 2 * len(names)
    assert all(".lora_A." in name or ".lora_B." in name for name in trainable)


def test_conv1d_counts_as_linear() -> None:
    model = gpt2()
    config = lora.inject(model, Lora(r=4), seed=1)
    assert sorted(config.target_modules) == ["c_attn", "c_fc", "c_proj"]
    assert config.fan_in_fan_out


@pytest.mark.parametrize("build", [llama, gpt2])
def test_a_fresh_adapter_is_the_identity_and_a_trained_one_can_be_switched_off(build: Any) -> None:
    model = build()
    before = model(IDS).logits
    lora.inject(model, Lora(r=4), seed=1)
    assert torch.equal(model(IDS).logits, before)
    stir(model)
    assert not torch.allclose(model(IDS).logits, before, atol=1e-2)
    with lora.disabled(model):
        assert torch.equal(model(IDS).logits, before)
    assert not torch.equal(model(IDS).logits, before)
    assert all(p.requires_grad for _, layer in lora.layers(model) for p in layer.lora_B.parameters())


def test_the_seed_decides_a_fresh_adapter_and_nothing_else_does() -> None:
    def drawn(seed: int) -> list[torch.Tensor]:
        model = llama()
        torch.seed()
        lora.inject(model, Lora(r=4), seed)
        return [layer.lora_A[lora.NAME].weight.detach() for _, layer in lora.layers(model)]

    one, same, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], one[7]), "two layers of the same shape are drawn apart"


@pytest.mark.parametrize("build", [llama, gpt2])
def test_merged_weights_do_what_base_and_adapter_do(build: Any) -> None:
    model = build()
    lora.inject(model, Lora(r=4, alpha=12), seed=1)
    stir(model)
    expected = model(IDS).logits
    plain = build()
    modules = dict(plain.named_modules())
    for path, layer in lora.layers(model):
        a, b = layer.lora_A[lora.NAME].weight, layer.lora_B[lora.NAME].weight
        modules[path].weight.data.copy_(lora.merged(layer, layer.base_layer.weight, a, b))
    torch.testing.assert_close(plain(IDS).logits, expected, atol=1e-5, rtol=1e-5)


def refused(build: Any, *targets: str) -> BadModel:
    with pytest.raises(BadModel) as caught:
        lora.inject(build(), Lora(target_modules=list(targets)), seed=1)
    assert caught.value.param == "method.dpo.hyperparameters.lora.target_modules"
    return caught.value


def test_modules_that_do_not_exist() -> None:
    error = refused(llama, "q_proj", "q_porj")
    assert error.code == "unknown_modules"
    assert "no module q_porj. Did you mean q_proj" in error.message
    assert "down_proj" in error.message
    assert "c_attn" in refused(gpt2, "q_proj").message


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "model.embed_tokens"])
def test_the_head_and_the_embeddings(target: str) -> None:
    for tie in (True, False):
        error = refused(lambda tie=tie: llama(tie), target)
        assert error.code == "lora_unfit"
        assert "not supported" in error.message


@pytest.mark.parametrize(("target", "kind"), [("input_layernorm", "LlamaRMSNorm"), ("self_attn", "LlamaAttention")])
def test_what_is_no_linear_layer(target: str, kind: str) -> None:
    error = refused(llama, target)
    assert error.code == "lora_unfit"
    assert kind in error.message


def of_the_zoo(name: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, own = zoo.FAMILIES[name]
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=320, **own))


@pytest.mark.parametrize(
    ("name", "without", "within"),
    [("mamba", "out_proj", "in_proj"), ("falcon_h1", "out_proj", "down_proj"), ("deepseek_v3", "down_proj", "o_proj")],
)
def test_what_peft_puts_no_adapter_into_is_left_out_by_itself_and_refused_by_name(
    name: str, without: str, within: str
) -> None:
    """PEFT raises in the first two; of the third it takes the name for the experts', which are one parameter."""
    model = of_the_zoo(name)
    assert any(path.endswith(f".{without}") for path, _ in model.named_modules())
    found = lora.find_targets(model, None)
    assert within in found
    assert without not in found
    with pytest.raises(BadModel, match=f"^{without} .* Leave it out") as refusal:
        lora.find_targets(model, [within, without])
    assert refusal.value.code == "lora_unfit"
    lora.inject(model, Lora(r=2), seed=0)
    assert {lora.last(path) for path, _ in lora.layers(model)} == set(found)


def test_a_path_names_one_module() -> None:
    model = llama()
    lora.inject(model, Lora(target_modules=["model.layers.1.self_attn.q_proj"]), seed=1)
    assert [path for path, _ in lora.layers(model)] == ["model.layers.1.self_attn.q_proj"]


def test_a_folder_can_be_asked_without_its_weights(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    lora.check(folder, None)
    lora.check(folder, ["q_proj"])
    with pytest.raises(BadModel, match="Did you mean q_proj"):
        lora.check(folder, ["q_prj"])
