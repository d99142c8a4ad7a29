"""LoRA's forward: what an adapter adds arrives in bf16 too, with its gradients; switched off, it is the base model."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.contract.run_spec import Lora
from tests.unit.trainer.test_lora import IDS, gpt2, llama, stir
from trainer import lora


def qwen() -> Any:
    """With biases where queries, keys and values are made."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=256, num_key_value_heads=2, **sizes)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            nn.init.normal_(parameter, std=3.0)
    return model


class Alone(nn.Module):
    """One linear layer, as wide as those of real models."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def get_input_embeddings(self) -> None:
        return None

    def get_output_embeddings(self) -> None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


def adapted(layer: nn.Module, dtype: torch.dtype, size: float, dropout: float = 0.0) -> tuple[Alone, Any]:
    """With an adapter that changes outputs by about `size`."""
    model = Alone(layer.to(dtype).requires_grad_(False))
    lora.inject(model, Lora(r=16, dropout=dropout, target_modules=["layer"]), seed=1)
    ((_, found),) = lora.layers(model)
    model.to(dtype)
    nn.init.normal_(found.lora_B[lora.NAME].weight, std=size / 4)
    return model, found


def linear(bias: bool) -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(256, 512, bias=bias)


def conv() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(2)
    layer = Conv1D(512, 256)
    nn.init.normal_(layer.weight, std=1 / 16)
    return layer


@pytest.mark.parametrize("build", [llama, gpt2, qwen])
def test_in_bf16_a_fresh_adapter_changes_no_bit(build: Any) -> None:
    model = build().bfloat16()
    lora.inject(model, Lora(r=4), seed=1)
    model.bfloat16()
    with lora.disabled(model):
        reference = model(IDS).logits
    assert torch.equal(model(IDS).logits, reference)
    stir(model)
    assert not torch.equal(model(IDS).logits, reference)
    with lora.disabled(model):
        assert torch.equal(model(IDS).logits, reference)


@pytest.mark.parametrize("build", [lambda: linear(False), lambda: linear(True), conv])
@torch.no_grad()
def test_what_is_less_than_half_a_unit_arrives(build: Any) -> None:
    """Outputs near 1 are 2^-8 apart in bf16. PEFT's own forward loses most of a change of a twentieth of that."""
    model, layer = adapted(build(), torch.bfloat16, size=2e-4)
    x = torch.randn(400, 256).bfloat16()
    with lora.disabled(model):
        before = model(x)
    a, b = (each[lora.NAME].weight.double() for each in (layer.lora_A, layer.lora_B))
    change = layer.scaling[lora.NAME] * (x.double() @ a.t() @ b.t())
    assert 1e-4 < float(change.std()) < 1e-3

    def arrives() -> float:
        return float(((model(x).double() - before.double()) * change).sum() / change.square().sum())

    assert arrives() == pytest.approx(1, abs=0.1)
    del layer.forward, layer.base_layer.forward
    with lora.disabled(model):
        before = model(x)
    assert arrives() < 0.7, "PEFT's own forward"


@pytest.mark.parametrize("build", [lambda: linear(False), lambda: linear(True), conv])
def test_values_and_gradients_are_those_of_peft(build: Any) -> None:
    model, layer = adapted(build(), torch.float64, size=0.3)
    x = torch.randn(2, 5, 256, dtype=torch.float64, requires_grad=True)
    wanted = [x, layer.lora_A[lora.NAME].weight, layer.lora_B[lora.NAME].weight]
    factors = torch.randn(2, 5, 512, dtype=torch.float64)
    out = model(x)
    mine = torch.autograd.grad((out * factors).sum(), wanted)
    with lora.disabled(model):
        off = model(x)
        (of_base,) = torch.autograd.grad((off * factors).sum(), x)
    del layer.forward, layer.base_layer.forward
    expected = model(x)
    torch.testing.assert_close(out, expected)
    for gradient, other in zip(mine, torch.autograd.grad((expected * factors).sum(), wanted), strict=True):
        torch.testing.assert_close(gradient, other)
    torch.testing.assert_close(off, layer.base_layer(x))
    (plain,) = torch.autograd.grad((layer.base_layer(x) * factors).sum(), x)
    torch.testing.assert_close(of_base, plain)


def test_no_copy_of_the_weight_and_none_of_the_input_is_kept() -> None:
    model, layer = adapted(linear(False), torch.bfloat16, size=0.3)
    out = model(torch.randn(3, 256).bfloat16().requires_grad_())
    (kept,) = out.grad_fn.saved_tensors  # type: ignore[union-attr]
    assert kept is layer.base_layer.weight


def test_dropout_is_of_the_adapter_s_input_alone() -> None:
    model, _ = adapted(linear(True), torch.float32, size=0.3, dropout=0.5)
    x = torch.randn(4, 256)
    assert not torch.equal(model.train()(x), model(x))
    with lora.disabled(model):
        assert torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_a_layer_with_a_forward_of_its_own_keeps_it() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * super().forward(x)

    torch.manual_seed(2)
    model, layer = adapted(Scaled(256, 512), torch.float32, size=0.0)
    x = torch.randn(4, 256)
    nn.init.zeros_(layer.lora_B[lora.NAME].weight)
    assert torch.equal(model(x), layer.base_layer(x))
    assert torch.equal(model(x), 3 * nn.functional.linear(x, layer.base_layer.weight, layer.base_layer.bias))
