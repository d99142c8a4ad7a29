"""What the trainer says of a staged folder before it is stored: the kind of model, its weights, its tokenizer."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.contract.errors import BadInput, BadModel
from planning import facts, lora, tensors
from planning.facts import Built, ModelFacts
from tests.models import (
    make_tiny_model,
    make_tiny_sentencepiece,
    make_tokenizer,
    write_model,
)
from tests.support.spoiled import change
from tests.support.templates import TOO_DEEP
from trainer import check
from trainer import folder as model_folder
from trainer import lora as trained

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 320,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", tie=False)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def reweigh(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    held = load_file(folder / "model.safetensors")
    edit(held)
    save_file(held, folder / "model.safetensors", {"format": "pt"})


def made(folder: Path, config: Any, cls: Any) -> Path:
    """As its class saves it, beside a tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cls(config)
    config.architectures = [cls.__name__]
    return write_model(folder, model, make_tokenizer())


def codes(built: Built) -> list[str]:
    return [fault.code for fault in built.faults]


def test_a_sound_folder_has_no_fault_and_tells_its_layers(folder: Path) -> None:
    built = check.check(folder)
    assert built.faults == []
    assert built.experts == 0
    assert built.linear is not None
    assert {(m.name, m.rows, m.columns, tuple(m.numbers)) for m in built.linear} == {
        *((f"model.layers.*.self_attn.{name}_proj", 64, 64, (0, 1)) for name in "qo"),
        *((f"model.layers.*.self_attn.{name}_proj", 32, 64, (0, 1)) for name in "kv"),
        *((f"model.layers.*.mlp.{name}_proj", 128, 64, (0, 1)) for name in ("gate", "up")),
        ("model.layers.*.mlp.down_proj", 64, 128, (0, 1)),
    }


@pytest.mark.parametrize("kind", ["chatglm", "qwen", "my_llama"])
def test_a_type_that_transformers_does_not_know_is_named(folder: Path, kind: str) -> None:
    change(folder, "config.json", model_type=kind)
    (fault,) = check.check(folder, tokenizer=False).faults
    assert fault.code == "unknown_architecture"
    assert f"model type {kind!r}" in fault.message


def test_what_the_weights_lack_is_told_before_a_job_meets_it(folder: Path) -> None:
    reweigh(folder, lambda held: [held.pop(name) for name in ("lm_head.weight", "model.norm.weight")])
    (fault,) = check.check(folder).faults
    assert fault.code == "missing_weights"
    assert "hold no lm_head.weight, model.norm.weight" in fault.message
    assert check.check(folder, weights=False).faults == []


def test_weights_of_another_size_are_told_with_both_shapes(folder: Path) -> None:
    change(folder, "config.json", intermediate_size=96)
    (fault,) = check.check(folder).faults
    assert fault.code == "weights_mismatch"
    assert "[64, 128] where the model has [64, 96] and 5 more tensors differ" in fault.message


@pytest.mark.parametrize("fields", [{"num_attention_heads": 0}, {"hidden_act": "none"}, {"rope_parameters": "x"}])
def test_a_configuration_that_makes_no_model_is_one_sentence(folder: Path, fields: dict[str, Any]) -> None:
    change(folder, "config.json", **fields)
    faults = check.check(folder).faults
    assert len(faults) == 1
    assert "\n" not in faults[0].message


def test_model_and_tokenizer_are_judged_at_once(folder: Path) -> None:
    reweigh(folder, lambda held: held.pop("lm_head.weight"))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}")
    built = check.check(folder)
    assert codes(built) == ["missing_weights", "chat_template_invalid"]
    assert codes(check.check(folder, tokenizer=False)) == ["missing_weights"]


def test_a_template_that_refuses_a_conversation_is_no_fault_of_the_folder(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only with tools') }}")
    assert check.check(folder).faults == []


@pytest.mark.parametrize("broken", TOO_DEEP)
def test_a_template_that_cannot_be_compiled_is_refused(folder: Path, broken: str) -> None:
    (folder / "chat_template.jinja").write_text(TOO_DEEP[broken])
    (fault,) = check.check(folder).faults
    assert fault.code == "chat_template_invalid"
    assert "cannot be compiled" in fault.message


LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize("endless", [LOOPS, "{{ 7 ** (7 ** 9) }}"])
def test_a_template_without_end_is_refused(folder: Path, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One while it is rendered, one while it is compiled."""
    monkeypatch.setattr(check, "TEMPLATE_SECONDS", 0.5)
    (folder / "chat_template.jinja").write_text(endless)
    (fault,) = check.check(folder).faults
    assert fault.code == "chat_template_invalid"
    assert "did not come to an end" in fault.message
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


NO_TOKENS: list[Any] = [2.0, "2", -1, True, [[2]], [2, None], {"a": 2}, [2, "</s>"]]


@pytest.mark.parametrize("ends", NO_TOKENS)
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_an_end_token_that_is_none_is_refused(folder: Path, name: str, ends: Any) -> None:
    (folder / "generation_config.json").unlink(missing_ok=True)
    told = json.loads((folder / name).read_text()) if name == "config.json" else {}
    (folder / name).write_text(json.dumps(told | {"eos_token_id": ends}))
    with pytest.raises(BadModel, match=f"{name} of the model: `eos_token_id` holds ") as error:
        model_folder.end_tokens(folder)
    assert error.value.code == "end_token_invalid"
    if name == "generation_config.json":
        (fault,) = check.check(folder).faults
        assert fault.code == "end_token_invalid"


@pytest.mark.parametrize(("ends", "found"), [(0, [0]), ([2, 0], [2, 0]), (None, []), ([], []), ([2, 2**70], [2])])
def test_end_tokens_beyond_the_models_are_left_out(folder: Path, ends: Any, found: list[int]) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    assert model_folder.end_tokens(folder) == found
    assert check.check(folder).faults == []


def test_a_tokenizer_that_cannot_be_loaded_is_told(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (fault,) = check.check(folder).faults
    assert fault.message.startswith("The model's tokenizer cannot be loaded")


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from transformers import MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

    place = tmp_path_factory.mktemp("experts")
    some = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 128}
    qwen = Qwen3MoeConfig(**some, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8)
    mixtral = MixtralConfig(**some, num_local_experts=4)
    for name, config, cls in (("qwen", qwen, Qwen3MoeForCausalLM), ("mixtral", mixtral, MixtralForCausalLM)):
        # By its own save_pretrained: the files hold the experts one by one.
        cls(config).save_pretrained(place / name)
        make_tokenizer().save_pretrained(place / name)
    return {name: place / name for name in ("qwen", "mixtral")}


def known(folder: Path) -> ModelFacts:
    """As `palate models add` stores it."""
    built = check.check(folder)
    assert built.faults == []
    config = json.loads((folder / "config.json").read_text())
    found = facts.facts(config, tensors.read(folder / "model.safetensors"))
    assert found is not None
    return found.model_copy(update={"linear": built.linear, "experts": built.experts})


@pytest.mark.parametrize(("name", "size"), [("qwen", 2 * 4 * 3 * 16 * 32), ("mixtral", 2 * 4 * 3 * 48 * 32)])
def test_experts_are_counted_and_the_plan_says_that_lora_leaves_them(
    experts: dict[str, Path], name: str, size: int
) -> None:
    found = known(experts[name])
    assert size <= found.experts <= size + 2 * 4 * 32  # the router may be counted with them
    told = lora.caution(found, lora.Lora())
    assert told is not None
    assert f"{found.experts:,} of {found.parameters:,} weights" in told
    assert told.endswith("Adapted: k_proj, o_proj, q_proj, v_proj.")
    assert {lora.last(each.name) for each in lora.adapted(found, lora.Lora())} == {f"{n}_proj" for n in "qkvo"}


TARGETS = ["gate_proj", "up_proj", "down_proj", "w1", "w3", "gate", "experts", "q_proj", "o_proj", "self_attn.k_proj"]
TARGETS += ["lm_head", "embed_tokens", "layers.1.self_attn.v_proj", "layers.2.self_attn.v_proj", "mlp", "norm"]


@pytest.mark.parametrize("name", ["qwen", "mixtral", "dense"])
def test_plan_and_trainer_agree_on_every_target(experts: dict[str, Path], original: Path, name: str) -> None:
    folder = {**experts, "dense": original}[name]
    found = known(folder)
    verdicts = {}
    for target in TARGETS:
        verdicts[target] = (passes(lora.check, found, [target]), passes(trained.check, folder, [target]))
    assert {target: planned for target, (planned, _) in verdicts.items()} == {
        target: run for target, (_, run) in verdicts.items()
    }
    assert verdicts["q_proj"] == (True, True)


def passes(judge: Callable[..., None], *arguments: object) -> bool:
    try:
        judge(*arguments)
    except BadInput:
        return False
    return True


def test_a_sentencepiece_model_alone_is_a_tokenizer(tmp_path: Path) -> None:
    """Its pieces are SentencePiece's own."""
    import sentencepiece

    from trainer import folder as model_folder

    folder = make_tiny_sentencepiece(tmp_path / "model")
    assert check.check(folder).faults == []
    tokenizer = model_folder.load_tokenizer(folder)
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    for text in ("the fox ran over a hill", "Paris, 42  times", "Ürümqi 日本", "wonderful\nmorning"):
        assert tokenizer(text)["input_ids"] == [own.bos_id(), *own.encode(text)]
    assert tokenizer.eos_token_id == own.eos_id()


def test_a_layer_that_only_some_have_is_known_by_its_number() -> None:
    layers = facts.alike((f"model.layers.{n}.mlp.shared.up_proj", (8, 4)) for n in (1, 2, 26))
    (matrix,) = layers
    assert (matrix.count, matrix.numbers) == (3, [1, 2, 26])
    assert lora.matches(matrix, "layers.26.mlp.shared.up_proj")
    assert not lora.matches(matrix, "layers.0.mlp.shared.up_proj")


def test_no_weight_is_read(folder: Path) -> None:
    """A hole of 64 GiB stands where the weights would be: names and shapes are all that is looked at."""
    path = folder / "model.safetensors"
    rows = 1 << 28
    change(folder, "config.json", vocab_size=rows, tie_word_embeddings=True)
    entries: dict[str, Any] = {}
    end = 0
    for name, tensor in load_file(path).items():
        shape = [rows, 64] if name == "model.embed_tokens.weight" else list(tensor.shape)
        if name != "lm_head.weight":
            size = 4 * torch.Size(shape).numel()
            entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
            end += size
    head = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    with path.open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head)
        stream.truncate(8 + len(head) + end)
    built = check.check(folder, tokenizer=False)
    assert built.faults == []
