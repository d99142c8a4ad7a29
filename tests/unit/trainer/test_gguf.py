"""GGUF files made with the gguf library: what becomes of a sound one, and each way in which one is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.contract.errors import BadModel
from tests.models import CHAT_TEMPLATE, make_tokenizer
from tests.support.gguf_file import HEADS, HIDDEN, File
from trainer import gguf

Edit = Callable[["File"], object]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_sound_file_becomes_the_model_that_transformers_reads_from_it(tmp_path: Path, kind: str, tied: bool) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = File(kind)
    if not tied:
        file.tensors["output.weight"] = file.tensors["token_embd.weight"][::-1].copy()
    if kind == "qwen3":
        # Where the file does not name it, transformers takes Qwen3's own 128.
        file.entries["attention.key_length"] = HIDDEN // HEADS
    path = file.write(tmp_path / "model.gguf")
    told = gguf.convert(path, tmp_path / "folder")
    assert told == [f"{path} is de-quantised (F32 to F32): not the weights that its author published."]
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    assert made.config.model_type == kind
    assert made.config.tie_word_embeddings == tied
    assert not hasattr(made.config, "_model_name_or_path")
    assert made.config.max_position_embeddings == 128
    assert made.config.rope_parameters["rope_theta"] == 5000.0
    assert made.config.rms_norm_eps == 1e-5
    weights = dict(made.named_parameters())
    assert sum(each.numel() for each in weights.values()) == sum(each.size for each in file.tensors.values())
    if kind != "qwen3":
        other = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
        for name, weight in other.named_parameters():
            torch.testing.assert_close(weights[name], weight, rtol=0, atol=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    original = make_tokenizer()
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (original.eos_token_id, original.pad_token_id)
    chat = original.apply_chat_template([{"role": "user", "content": "the fox"}], tokenize=False)
    assert tokenizer(chat)["input_ids"] == original(chat)["input_ids"]


def test_quantised_weights_are_those_of_the_file(tmp_path: Path) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize
    from safetensors.torch import load_file

    file = File("qwen2")
    packed = {
        name: quantize(tensor, GGMLQuantizationType.Q8_0)
        for name, tensor in file.tensors.items()
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0
    }
    path, plain = tmp_path / "model.gguf", GGUFWriter.add_tensor

    def add_tensor(self: Any, name: str, tensor: Any, **more: Any) -> None:
        kind = {"raw_dtype": GGMLQuantizationType.Q8_0} if name in packed else {}
        plain(self, name, packed.get(name, tensor), **kind, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GGUFWriter, "add_tensor", add_tensor)
        file.write(path)
    (told,) = gguf.convert(path, tmp_path / "folder")
    assert "(F32, Q8_0 to F32)" in told
    made = load_file(tmp_path / "folder" / "model.safetensors")
    expected = dequantize(packed["blk.1.ffn_up.weight"], GGMLQuantizationType.Q8_0)
    np.testing.assert_array_equal(made["model.layers.1.mlp.up_proj.weight"].numpy(), expected)


def test_all_tokens_that_end_a_turn_end_the_generation(tmp_path: Path) -> None:
    file = File()
    file.tokenizer |= {"ggml.eot_token_id": 5, "ggml.eom_token_id": file.tokenizer["ggml.eos_token_id"]}
    gguf.convert(file.write(tmp_path / "model.gguf"), tmp_path / "folder")
    told = json.loads((tmp_path / "folder" / "generation_config.json").read_text())
    assert told["eos_token_id"] == [file.tokenizer["ggml.eos_token_id"], 5]


def test_mistral_is_a_llama_and_its_sentencepiece_vocabulary_is_read(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    file = File()
    # transformers would give it a window of 4,096 tokens, which no such file names.
    file.name = "mistral"
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab"]
    rows = len(file.tokens)
    pieces += [f"<pad{n}>" for n in range(rows - len(pieces))]
    file.tokenizer = {
        "ggml.model": "llama",
        "ggml.tokens": pieces,
        "ggml.scores": [0.0] * 260 + [-float(n) for n in range(rows - 260)],
        "ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * (rows - 259)],
        "ggml.bos_token_id": 1,
        "ggml.eos_token_id": 2,
    }
    gguf.convert(file.write(tmp_path / "model.gguf"), tmp_path / "folder")
    assert AutoConfig.from_pretrained(tmp_path / "folder").model_type == "llama"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab a é")["input_ids"])[-5:] == [
        "▁ab",
        "▁a",
        "▁",
        "<0xC3>",
        "<0xA9>",
    ]
    assert tokenizer.decode(tokenizer("ab a é")["input_ids"], skip_special_tokens=True) == "ab a é"


@pytest.mark.parametrize(
    ("rule", "text", "pieces"),
    [
        ("smollm", "a  12", ["a", "Ġ", "Ġ", "1", "2"]),
        ("gpt-2", "a  12", ["a", "Ġ", "Ġ", "1", "2"]),
        ("llama-bpe", "a\n12", ["a", "Ċ", "1", "2"]),
    ],
)
def test_the_rule_that_cuts_texts_is_kept_when_the_folder_is_loaded(
    tmp_path: Path, rule: str, text: str, pieces: list[str]
) -> None:
    from transformers import AutoTokenizer

    file = File()
    file.tokenizer["ggml.pre"] = rule
    gguf.convert(file.write(tmp_path / "model.gguf"), tmp_path / "folder")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == pieces
    kinds = str(tokenizer.backend_tokenizer.pre_tokenizer)
    assert ("Digits(individual_digits=True)" in kinds) == (rule == "smollm")
    assert ("Split(" in kinds) == (rule == "llama-bpe")


def rename(old: str, new: str) -> Edit:
    return lambda file: file.tensors.update({new: file.tensors.pop(old)})


def put(entries: dict[str, Any]) -> Edit:
    return lambda file: file.entries.update(entries)


def tell(entries: dict[str, Any]) -> Edit:
    return lambda file: file.tokenizer.update(entries)


def also(entries: dict[str, Any]) -> Edit:
    return lambda file: file.others.update(entries)


def hold(name: str, size: int) -> Edit:
    return lambda file: file.tensors.update({name: np.ones(size, np.float32)})


def with_fewer_rows(file: "File") -> None:
    file.tensors["token_embd.weight"] = file.tensors["token_embd.weight"][:300]


def with_many_heads(file: "File") -> None:
    file.entries["attention.head_count"] = 4096
    del file.entries["rope.dimension_count"]


LINEAR = {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}
YARN = {"rope.scaling.type": "yarn", "rope.scaling.original_context_length": 64}
REFUSED: list[tuple[str, str, Edit]] = [
    ("linear scaling", "scales its rotary positions (rope.scaling.factor, rope.scaling.type)", put(LINEAR)),
    ("yarn", "(rope.scaling.original_context_length, rope.scaling.type)", put(YARN)),
    ("an older key", "(rope.scale_linear)", put({"rope.scale_linear": 4.0})),
    ("Llama 3.1", "holds rope_freqs.weight: its rotary", hold("rope_freqs.weight", 4)),
    ("long and short", "holds rope_factors_long.weight: its rotary", hold("rope_factors_long.weight", 4)),
    ("half of a head turned", "only 4 of 8 numbers of a head", put({"rope.dimension_count": 4})),
    ("a bias", "no place in the model (1: blk.0.attn_q.bias)", hold("blk.0.attn_q.bias", HIDDEN)),
    ("experts", "nothing is known of its expert_count", put({"expert_count": 8})),
    ("a window", "nothing is known of its attention.sliding_window", put({"attention.sliding_window": 64})),
    ("a layer more", "no place in the model (1: blk.2.attn_q.weight)", hold("blk.2.attn_q.weight", HIDDEN)),
    ("a tensor less", "lacks tensors (1: blk.1.ffn_up.weight)", lambda f: f.tensors.pop("blk.1.ffn_up.weight")),
    ("another name", "lacks tensors (1: output_norm.weight)", rename("output_norm.weight", "final_norm.weight")),
    ("no size", "does not name its block_count", lambda f: f.entries.pop("block_count")),
    ("heads by layer", "attention.head_count_kv is no single number", put({"attention.head_count_kv": [2, 1]})),
    ("a huge count", "it holds 20, and says that it has 4000000000 layers", put({"block_count": 4_000_000_000})),
    ("half a layer", "its block_count is no single number", put({"block_count": 1.5})),
    ("no number", "its rope.freq_base is no single number", put({"rope.freq_base": float("nan")})),
    ("a count too high", "lacks tensors", put({"block_count": 3})),
    ("no tokenizer", "it holds no tokenizer", lambda f: f.tokenizer.clear()),
    ("no tokens", "it holds no tokenizer", lambda f: f.tokenizer.pop("ggml.tokens")),
    ("no merges", "its tokenizer has no merges", lambda f: f.tokenizer.pop("ggml.merges")),
    ("word pieces", "of a kind that is not read from GGUF (bert)", tell({"ggml.model": "bert"})),
    ("an unknown rule", "(tokenizer.ggml.pre: chameleon)", tell({"ggml.pre": "chameleon"})),
    ("fewer rows", "its tokenizer has 320 tokens, and its table 300 rows", with_fewer_rows),
    ("no end", "names no end token", lambda f: f.tokenizer.pop("ggml.eos_token_id")),
    ("an end beyond", "names no end token", tell({"ggml.eos_token_id": 9999})),
    ("a turn's end beyond", "its tokenizer.ggml.eot_token_id is 99999, and its", tell({"ggml.eot_token_id": 99_999})),
    ("a message's end beyond", "its tokenizer.ggml.eom_token_id is 320, and its", tell({"ggml.eom_token_id": 320})),
    ("a beginning beyond", "its tokenizer.ggml.bos_token_id is 320, and its", tell({"ggml.bos_token_id": 320})),
    ("a pad beyond", "its tokenizer.ggml.padding_token_id is 4294967295", tell({"ggml.padding_token_id": 2**32 - 1})),
    ("a rule that is a list", "its tokenizer.ggml.pre is not a text", tell({"ggml.pre": ["gpt-2"]})),
    ("a model that is a list", "its tokenizer.ggml.model is not a text", tell({"ggml.model": ["gpt2"]})),
    ("tokens that are a number", "its tokenizer.ggml.tokens is not texts", tell({"ggml.tokens": 7})),
    ("tokens that are numbers", "its tokenizer.ggml.tokens is not texts", tell({"ggml.tokens": [7, 8]})),
    ("merges that are a text", "its tokenizer.ggml.merges is not texts", tell({"ggml.merges": "a b"})),
    ("token types in words", "its tokenizer.ggml.token_type is not numbers", tell({"ggml.token_type": ["x"]})),
    ("too few token types", "ggml.token_type has 2 values for 320 tokens", tell({"ggml.token_type": [1, 1]})),
    ("an end in words", "its tokenizer.ggml.eos_token_id is not a whole number", tell({"ggml.eos_token_id": "x"})),
    ("a turn's end in words", "ggml.eot_token_id is not a whole number", tell({"ggml.eot_token_id": "x"})),
    ("half an end", "its tokenizer.ggml.eos_token_id is not a whole number", tell({"ggml.eos_token_id": 1.5})),
    ("a template that is a number", "its tokenizer.chat_template is not a text", tell({"chat_template": 1})),
    ("parts in words", "its split.count is not a whole number", also({"split.count": "x"})),
    ("a part", "it is one part of 3", also({"split.count": 3})),
    ("an architecture that is a list", "its architecture is no text", also({"general.architecture": ["llama"]})),
    ("no architecture", "its architecture is not named", also({"general.architecture": ""})),
    ("an architecture on two lines", "its architecture is a b, and only", also({"general.architecture": "a\nb\x1b"})),
    ("a size in words", "its embedding_length is no single number", put({"embedding_length": "x"})),
    ("a list of tokens", "its token_embd.weight is no matrix", hold("token_embd.weight", 320)),
    ("heads without width", "only 8 of 0 numbers of a head", put({"attention.head_count": 4096})),
    ("more heads than width", "cannot be read", with_many_heads),
    ("another shape", "model.norm.weight is (16,) where the model has (32,)", hold("output_norm.weight", 16)),
]  # fmt: skip


@pytest.mark.parametrize(("words", "edit"), [pytest.param(words, edit, id=name) for name, words, edit in REFUSED])
def test_what_would_become_another_model_is_refused(tmp_path: Path, words: str, edit: Edit) -> None:
    file = File()
    edit(file)
    path = file.write(tmp_path / "model.gguf")
    with pytest.raises(BadModel) as refusal:
        gguf.convert(path, tmp_path / "folder")
    assert refusal.value.code == "gguf_unsupported"
    assert words in refusal.value.message
    assert str(path) in refusal.value.message
    assert "\n" not in refusal.value.message
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("kind", ["phi2", "gemma3", "qwen2moe", "qwen35", "t5", "mistral3", "clip"])
def test_other_architectures_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    file = File()
    file.kind = kind
    path = file.write(tmp_path / "model.gguf")
    with pytest.raises(BadModel, match=f"its architecture is {kind}, and only llama, qwen2, qwen3 are taken"):
        gguf.convert(path, tmp_path / "folder")


def test_all_reasons_are_said_at_once(tmp_path: Path) -> None:
    file = File()
    file.entries |= {"rope.scaling.type": "yarn", "expert_count": 4}
    file.tensors["rope_freqs.weight"] = np.ones(4, np.float32)
    file.tokenizer["ggml.pre"] = "chameleon"
    with pytest.raises(BadModel) as refusal:
        gguf.convert(file.write(tmp_path / "model.gguf"), tmp_path / "folder")
    for words in ("rope.scaling.type", "expert_count", "rope_freqs.weight", "chameleon", "folder of safetensors"):
        assert words in refusal.value.message


def test_a_file_cut_anywhere_is_told(tmp_path: Path) -> None:
    whole = File().write(tmp_path / "model.gguf").read_bytes()
    for size in (0, 3, 4, 8, 20, 24, 100, 1000, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole[:size])
        with pytest.raises(BadModel) as refusal:
            gguf.convert(cut, tmp_path / "folder")
        assert refusal.value.code == ("gguf_unsupported" if size < 4 else "gguf_damaged"), size
        assert str(cut) in refusal.value.message


@pytest.mark.parametrize("content", [b"GGUF" + b"\xff" * 200, b"GGUF" + b"\0" * 100, b"PK\x03\x04" + b"\0" * 60])
def test_what_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(BadModel, match=r"is of GGUF's version|is no GGUF file"):
        gguf.convert(path, tmp_path / "folder")


def test_what_lies_beside_a_file_takes_no_part(tmp_path: Path) -> None:
    """Another model's tokenizer, and a pipe that nobody writes to."""
    from transformers import AutoTokenizer

    file, together, alone = File("qwen2"), tmp_path / "together", tmp_path / "alone"
    for place in (together, alone):
        place.mkdir()
        file.write(place / "model.gguf")
    other = make_tokenizer("{{ 'another template' }}")
    other.add_tokens(["the fox"])
    other.save_pretrained(together)
    settings = json.loads((together / "tokenizer_config.json").read_text())
    told = {"unk_token": "<other>", "additional_special_tokens": ["fox"], "auto_map": {"AutoTokenizer": ["x.Y", None]}}
    (together / "tokenizer_config.json").write_text(json.dumps(settings | told))
    (together / "added_tokens.json").write_text('{"a fox": 5}')
    os.mkfifo(together / "special_tokens_map.json")
    os.mkfifo(together / "config.json")
    for place in (together, alone):
        gguf.convert(place / "model.gguf", place / "folder")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (together / "folder" / name).read_bytes() == (alone / "folder" / name).read_bytes()
    text = "a fox <other> the fox"
    made = [AutoTokenizer.from_pretrained(place / "folder")(text)["input_ids"] for place in (together, alone)]
    assert made[0] == made[1] == make_tokenizer()(text)["input_ids"]
