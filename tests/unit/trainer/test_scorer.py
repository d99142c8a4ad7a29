"""Shared, packed and padded rows score alike: each answer as if it were alone, for every family that can."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainer.data import Example
from trainer.folder import load_config, rope_boundary
from trainer.layouts import Layout, collate
from trainer.render import Answer
from trainer.scorer import Scorer

VOCABULARY = 97


def llama(**more: Any) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, **sizes, **more))


def qwen3() -> nn.Module:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=VOCABULARY, num_key_value_heads=2, head_dim=8, **sizes))


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    drop = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, **drop))


def mistral_with_a_window() -> nn.Module:
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return MistralForCausalLM(MistralConfig(vocab_size=VOCABULARY, num_key_value_heads=2, sliding_window=5, **sizes))


def gemma2_with_softcap() -> nn.Module:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Gemma2Config(
        vocab_size=VOCABULARY, num_key_value_heads=2, head_dim=8, sliding_window=6, query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **sizes,
    )  # fmt: skip
    return Gemma2ForCausalLM._from_config(config, attn_implementation="eager")


SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def gpt_oss() -> nn.Module:
    """Attention sinks, a window in every other layer, experts."""
    from transformers import GptOssConfig, GptOssForCausalLM

    return GptOssForCausalLM(
        GptOssConfig(head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=5, **SIZES)
    )


def qwen3_moe() -> nn.Module:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(head_dim=8, **experts, **SIZES))


def opt() -> nn.Module:
    """Learned positions, a bias in every layer."""
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    quiet = {"dropout": 0.0, "attention_dropout": 0.0, "word_embed_proj_dim": 32}
    return OPTForCausalLM(OPTConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **sizes, **quiet))


def granite() -> nn.Module:
    from transformers import GraniteConfig, GraniteForCausalLM

    scales = {"logits_scaling": 4.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5}
    return GraniteForCausalLM(GraniteConfig(embedding_multiplier=3.0, **scales, **SIZES))


def cohere2() -> nn.Module:
    from transformers import Cohere2Config, Cohere2ForCausalLM

    return Cohere2ForCausalLM(Cohere2Config(sliding_window=5, logit_scale=0.25, **SIZES))


def mamba() -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(
        MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.3)
    )


def falcon_h1() -> nn.Module:
    """Attention and a state space side by side; its logits times a factor."""
    from transformers import FalconH1Config, FalconH1ForCausalLM

    state = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}
    return FalconH1ForCausalLM(FalconH1Config(lm_head_multiplier=0.5, initializer_range=0.3, **state, **SIZES))


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "llama": llama,
    "llama, tied": lambda: llama(tie_word_embeddings=True),
    "qwen3": qwen3,
    "gpt2": gpt2,
    "mistral with a window": mistral_with_a_window,
    "gemma 2": gemma2_with_softcap,
    "gpt-oss": gpt_oss,
    "qwen3 moe": qwen3_moe,
    "opt": opt,
    "granite": granite,
    "cohere 2": cohere2,
}


def examples() -> list[Example]:
    draw = torch.Generator().manual_seed(3)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(VOCABULARY, (count,), generator=draw).tolist())

    found = []
    for number, (prefix, lengths) in enumerate([(7, (4, 9)), (12, (3, 2)), (1, (6, 5, 8)), (5, (1,))]):
        prompt = ids(prefix)
        answers = tuple(Answer(prompt + ids(n), ((prefix, prefix + n),)) for n in lengths)
        found.append(Example(str(number), number, prefix, answers, number=number))
    return found


def truth(model: Any, example: Example) -> list[torch.Tensor]:
    found = []
    for answer in example.answers:
        table = model(torch.tensor([answer.ids])).logits[0].log_softmax(-1)
        found.append(torch.stack([table[t - 1, answer.ids[t]] for a, b in answer.spans for t in range(a, b)]))
    return found


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layout_is_each_answer_alone(family: str) -> None:
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    given = examples()
    alone = [tokens for example in given for tokens in truth(model, example)]
    factors = torch.linspace(-1, 1, len(alone))
    sum(f * tokens.sum() for f, tokens in zip(factors, alone, strict=True)).backward()
    expected = gradients(model)
    model.zero_grad()
    scorer = Scorer(model)
    layouts: tuple[Layout, ...] = ("shared", "packed", "padded")
    for layout in layouts:
        batch = collate(given, layout, torch.device("cpu"))
        found = scorer(batch)
        sums = torch.stack([tokens.sum() for tokens in alone]).detach()
        assert torch.allclose(found[:, 0], sums, atol=3e-5), layout
        (found[:, 0] * factors).sum().backward()
        mine = gradients(model)
        assert set(mine) == set(expected)
        for name, gradient in expected.items():
            assert torch.allclose(mine[name], gradient, atol=2e-5, rtol=1e-4), (layout, name)
        model.zero_grad()


@pytest.mark.parametrize("family", [mamba, falcon_h1])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_state_that_runs_on_leaks_from_neighbours_but_not_when_padded(family: Callable[[], nn.Module]) -> None:
    """What the probe has to find: nothing is raised, and the numbers of a packed row are wrong."""
    torch.manual_seed(0)
    model = family().eval()
    with torch.no_grad():
        sums = torch.stack([tokens.sum() for example in examples() for tokens in truth(model, example)])
        scorer = Scorer(model)
        error = {
            layout: float((scorer(collate(examples(), layout, torch.device("cpu")))[:, 0] - sums).abs().max())
            for layout in ("shared", "packed", "padded")
        }
    assert error["padded"] < 3e-5
    assert min(error["shared"], error["packed"]) > 1e-2


def test_a_model_whose_attention_cannot_be_replaced_is_refused_in_a_row() -> None:
    from transformers import GPTJConfig, GPTJForCausalLM

    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64}
    scorer = Scorer(GPTJForCausalLM(GPTJConfig(**sizes)))
    with pytest.raises(RuntimeError, match="cannot be replaced"):
        scorer(collate(examples(), "packed", torch.device("cpu")))


def test_rotary_frequencies_that_change_with_length_set_a_boundary(tmp_path: Path) -> None:
    from transformers import Phi3Config, Phi3ForCausalLM

    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "long_factor": [2.0] * 4, "short_factor": [1.0] * 4}
    config = Phi3Config(
        pad_token_id=0,
        initializer_range=0.3,
        max_position_embeddings=64,
        original_max_position_embeddings=10,
        rope_parameters={**rope, "original_max_position_embeddings": 10},
        **SIZES,
    )
    scorer = Scorer(Phi3ForCausalLM(config).eval())
    assert scorer.boundary == 11
    long, short = examples()[1], examples()[3]
    assert long.longest > scorer.boundary > short.longest
    with torch.no_grad():
        (alone,) = scorer(collate([short], "shared", torch.device("cpu")))
        *_, mixed = scorer(collate([long, short], "shared", torch.device("cpu")))
    assert not torch.allclose(alone, mixed, atol=1e-4), "or no boundary is needed any longer"
    assert Scorer(llama()).boundary is None
    config.save_pretrained(tmp_path)
    assert rope_boundary(load_config(tmp_path)) == 11, "inspection and tokenising know it from the folder alone"


def test_the_head_sum_counts_the_shared_length() -> None:
    model = llama().eval()
    given = examples()[:1]
    tokens = truth(model, given[0])
    found = Scorer(model)(collate(given, "shared", torch.device("cpu")))
    assert float(found[1, 1].detach()) == pytest.approx(float(tokens[1][:4].sum().detach()), abs=1e-5)
    assert float(found[0, 1].detach()) == pytest.approx(float(found[0, 0].detach()), abs=1e-6)


def test_a_shared_prompt_is_fed_once() -> None:
    given = examples()
    fed = {layout: collate(given, layout, torch.device("cpu")).tokens for layout in ("shared", "packed")}
    assert fed["packed"] - fed["shared"] == 7 + 12 + 2 * 1


def test_outside_of_a_row_it_refuses() -> None:
    model = llama().eval()
    scorer = Scorer(model)
    scorer(collate(examples(), "shared", torch.device("cpu")))
    with pytest.raises(RuntimeError, match="outside of a row"):
        model(torch.tensor([[1, 2, 3]]))
    with scorer.plain() as plain, torch.no_grad():
        assert plain(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, VOCABULARY)


def test_without_the_fused_head_it_is_the_same() -> None:
    model = llama().eval()
    scorer = Scorer(model)
    batch = collate(examples(), "padded", torch.device("cpu"))
    fused = scorer(batch)
    scorer.fused = False
    assert torch.allclose(scorer(batch), fused, atol=2e-5)


def test_a_layer_that_is_recomputed_sees_its_row() -> None:
    """Two rows forwarded, then both backward, each through layers computed again: the gradients of no recompute."""
    torch.manual_seed(0)
    model: Any = llama().train()
    scorer = Scorer(model)
    rows = [
        collate(examples()[:2], "shared", torch.device("cpu")),
        collate(examples()[2:], "shared", torch.device("cpu")),
    ]
    sum(scorer(row).sum() for row in rows).backward()
    expected = gradients(model)
    model.zero_grad()
    scorer.recompute()
    assert model.is_activation_checkpointing
    sum(scorer(row).sum() for row in rows).backward()
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, expected[name], atol=1e-6), name
