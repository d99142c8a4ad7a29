"""Each way in which a model's folder can be unusable, planted in a copy of a real one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.contract.errors import BadModel
from planning import facts, model_folder, quantised, weights
from planning.model_json import DEEPEST, read_json
from tests.support.spoiled import (
    CONFIG,
    INDEX,
    SINGLE,
    TEMPLATE,
    TOKENIZER,
    Spoil,
    a_socket,
    an_adapter,
    change,
    circle,
    cut,
    deep,
    first,
    header_of,
    link_out,
    no_template,
    only_a_pickle,
    pointer,
    reheader,
    renamed,
    retype,
    split,
    write_tensors,
)

SPOILED: list[tuple[str, str, Spoil]] = [
    ("folder_missing", "gone", shutil.rmtree),
    ("config_missing", "gone", lambda f: (f / CONFIG).unlink()),
    ("config_invalid", "no JSON", lambda f: (f / CONFIG).write_text("{")),
    ("config_invalid", "a list", lambda f: (f / CONFIG).write_text("[]")),
    ("config_invalid", "no type", lambda f: change(f, CONFIG, model_type=None)),
    ("config_invalid", "no architecture", lambda f: change(f, CONFIG, architectures=[])),
    ("config_invalid", "no context", lambda f: change(f, CONFIG, max_position_embeddings=None)),
    ("model_safetensors_missing", "only a pickle", only_a_pickle),
    ("model_safetensors_missing", "a shard", lambda f: (split(f), next(f.glob("*-of-*")).unlink())),
    ("safetensors_invalid", "index short", lambda f: split(f, leave_out=1)),
    ("safetensors_invalid", "index no JSON", lambda f: (split(f), (f / INDEX).write_text("x"))),
    ("safetensors_invalid", "index empty", lambda f: (split(f), (f / INDEX).write_text("{}"))),
    (
        "safetensors_invalid",
        "index leaves",
        lambda f: (split(f), change(f, INDEX, weight_map={"a": "../x.safetensors"})),
    ),
    ("safetensors_invalid", "both", lambda f: (f / INDEX).write_text('{"weight_map": {"a": "b.safetensors"}}')),
    ("safetensors_invalid", "a tail", lambda f: (f / SINGLE).write_bytes((f / SINGLE).read_bytes() + b"x")),
    ("safetensors_invalid", "huge header", lambda f: (f / SINGLE).write_bytes(b"\xff" * 64)),
    ("safetensors_invalid", "no JSON", lambda f: write_tensors(f / SINGLE, b"\x80\x02K\x01.", b"")),
    ("safetensors_invalid", "a list", lambda f: write_tensors(f / SINGLE, [], b"")),
    ("safetensors_invalid", "no tensor", lambda f: write_tensors(f / SINGLE, {}, b"")),
    ("safetensors_invalid", "a name twice", lambda f: write_tensors(f / SINGLE, b'{"a": {}, "a": {}}', b"")),
    ("safetensors_invalid", "shape", reheader(lambda h: first(h)["shape"].append(2))),
    ("safetensors_invalid", "type", reheader(lambda h: first(h).update(dtype="F33"))),
    ("safetensors_invalid", "negative", reheader(lambda h: first(h).update(data_offsets=[-4, 0]))),
    ("safetensors_invalid", "a hole", reheader(lambda h: h.pop(next(n for n in h if n != "__metadata__")))),
    ("safetensors_truncated", "the last byte", cut(1)),
    ("safetensors_truncated", "in the header", cut(-100)),
    ("safetensors_truncated", "four bytes", cut(-4)),
    ("safetensors_truncated", "empty", lambda f: (f / SINGLE).write_bytes(b"")),
    ("tokenizer_missing", "gone", lambda f: (f / TOKENIZER).unlink()),
    ("tokenizer_missing", "no JSON", lambda f: (f / TOKENIZER).write_text("{")),
    ("chat_template_missing", "blank", lambda f: (f / TEMPLATE).write_text(" \n")),
    ("symlink_refused", "link", link_out),
    ("symlink_refused", "a circle", lambda f: circle(f, f / "a.json")),
    ("symlink_refused", "a circle of folders", lambda f: (f / "inner").mkdir() or circle(f, f / "inner" / "a")),
    ("symlink_refused", "nowhere", lambda f: (f / "a.txt").symlink_to("gone")),
    ("file_invalid", "a pipe", lambda f: os.mkfifo(f / "extra.json")),
    ("file_invalid", "a pipe of weights", lambda f: ((f / SINGLE).unlink(), os.mkfifo(f / SINGLE))),
    ("file_invalid", "a socket", a_socket),
    ("config_invalid", "deep lists", lambda f: (f / CONFIG).write_text("[" * 5000 + "]" * 5000)),
    ("config_invalid", "deep objects", lambda f: deep(f / "extra.json", 900)),
    ("config_invalid", "just too deep", lambda f: deep(f / "generation_config.json", DEEPEST + 1)),
    ("config_invalid", "a mark before it", lambda f: (f / CONFIG).write_text((f / CONFIG).read_text(), "utf-8-sig")),
    ("tokenizer_missing", "deep", lambda f: deep(f / TOKENIZER, 2000)),
    ("lfs_pointer", "weights", lambda f: pointer(f / SINGLE)),
    ("lfs_pointer", "tokenizer", lambda f: pointer(f / TOKENIZER)),
    ("lfs_pointer", "config", lambda f: pointer(f / CONFIG)),
    ("model_is_adapter", "alone", lambda f: an_adapter(f, alone=True)),
    ("adapter_beside_model", "beside a base", lambda f: an_adapter(f, alone=False)),
    ("quantised_weights", "fp8", lambda f: retype(f, "q_proj.weight", "F8_E4M3", {"quant_method": "fp8"})),
    (
        "quantised_weights",
        "fp8 that config.json does not name",
        lambda f: retype(f, "down_proj.weight", "F8_E5M2", None),
    ),
    ("quantised_weights", "int8", lambda f: retype(f, "o_proj.weight", "I8", {"quant_method": "bitsandbytes"})),
    ("quantised_weights", "packed", lambda f: retype(f, "up_proj.weight", "U8", {"quant_method": "mxfp4"})),
    ("quantised_weights", "left over", lambda f: change(f, CONFIG, quantization_config={"quant_method": "fp8"})),
    (
        "quantised_weights",
        "of its text half",
        lambda f: change(f, CONFIG, text_config={"quantization_config": {"bits": 4}}),
    ),
    *(("quantised_weights", name, renamed(name)) for name in ("qweight", "g_idx", "SCB", "weight_packed", "absmax")),
]


@pytest.mark.parametrize(("code", "spoil"), [pytest.param(c, s, id=f"{c}-{name}") for c, name, s in SPOILED])
def test_an_unusable_folder_is_refused_with_its_place(folder: Path, code: str, spoil: Spoil) -> None:
    spoil(folder)
    with pytest.raises(BadModel) as refusal:
        model_folder.check(folder)
    assert refusal.value.code == code
    assert str(folder) in refusal.value.message
    assert refusal.value.message.endswith(".")


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    change(folder, CONFIG, quantization_config={"quant_method": "gptq"}, max_position_embeddings=None)
    (folder / TOKENIZER).write_text("{")
    (folder / TEMPLATE).write_text("")
    (folder / "extra.json").write_text("[")
    split(folder)
    for shard in folder.glob("*-of-*"):
        shard.unlink()
    with pytest.raises(BadModel) as refusal:
        model_folder.check(folder)
    told = refusal.value.message
    assert told.startswith(f"6 things are wrong with {folder}:\n  1. ")
    for said in (
        "lacks model-00001-of-00002.safetensors, model-00002-of-00002.safetensors",
        "(gptq), but the weights beside it are in full precision",
        "it names no context length",
        "tokenizer.json is not JSON",
        "an empty chat template",
        "extra.json is not JSON",
    ):
        assert said in told


def test_pipes_and_links_are_all_named_before_a_byte_is_read(folder: Path) -> None:
    os.mkfifo(folder / "generation_config.json.part")
    (folder / TOKENIZER).unlink()
    os.mkfifo(folder / TOKENIZER)
    circle(folder, folder / "a.json")
    with pytest.raises(BadModel, match="4 things are wrong") as refusal:
        model_folder.check(folder)
    assert refusal.value.message.count("is a pipe, not a file") == 2
    assert refusal.value.message.count("a link that leads nowhere, or in a circle") == 2


def test_pointers_are_named_and_what_is_there_is_still_checked(folder: Path) -> None:
    for name in (SINGLE, TOKENIZER):
        pointer(folder / name)
    (folder / "extra.json").write_text("[")
    with pytest.raises(BadModel, match="2 things") as refusal:
        model_folder.check(folder)
    assert f"pointers in place of files ({SINGLE}, {TOKENIZER}); run `git lfs pull` there" in refusal.value.message


def test_an_adapter_says_whose_it_is_and_what_to_do(folder: Path) -> None:
    an_adapter(folder, alone=True)
    with pytest.raises(BadModel) as refusal:
        model_folder.check(folder)
    assert "is a LoRA adapter of someone/base, not a model" in refusal.value.message
    assert f"--adapter {folder}" in refusal.value.message


def test_an_adapter_that_brings_the_configuration_of_its_base_is_still_one(folder: Path) -> None:
    an_adapter(folder, alone=False)
    (folder / SINGLE).unlink()
    with pytest.raises(BadModel) as refusal:
        model_folder.check(folder)
    assert refusal.value.code == "model_is_adapter"


def test_a_folder_of_gguf_names_the_file(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "model-Q8_0.gguf")
    with pytest.raises(BadModel, match=r"name its GGUF file \(model-Q8_0.gguf\)"):
        model_folder.check(folder)


def test_masks_and_positions_kept_as_integers_are_no_quantised_weights(folder: Path) -> None:
    kinds = ("attn.bias", "attn.masked_bias", "position_ids", "relative_position_index")
    found = [weights.Tensor(f"h.0.{name}", dtype, (1, 8), 0, 8) for name in kinds for dtype in ("U8", "I32")]
    assert not [each for each in found if quantised.is_quantised(each)]


@pytest.mark.parametrize("name", [CONFIG, "tokenizer_config.json", "extra.json"])
def test_code_is_left_out_of_what_is_stored(folder: Path, tmp_path: Path, name: str) -> None:
    where = {"auto_map": {"AutoModel": "modeling_x.Y"}}
    (folder / name).write_text(json.dumps({**(read_json(folder / name) if (folder / name).exists() else {}), **where}))
    (folder / "modeling_x.py").write_text("raise SystemExit('was run')")
    (folder / "inner").mkdir()
    (folder / "inner" / "sample.py").write_text("x")
    found = model_folder.look(folder)
    found.refuse()
    assert found.told == [
        "left out: modeling_x.py; code is never run.",
        f"left out: `auto_map` of {name}; the code that it names is never run.",
    ]
    staged = tmp_path / "staged"
    staged.mkdir()
    model_folder.stage(folder, staged)
    stored = {path.name for path in staged.iterdir()}
    assert not {"modeling_x.py", "inner"} & stored
    assert {CONFIG, TOKENIZER, SINGLE, TEMPLATE} <= stored
    assert read_json(staged / name) == {
        key: value for key, value in read_json(folder / name).items() if key != "auto_map"
    }
    assert (staged / TOKENIZER).read_bytes() == (folder / TOKENIZER).read_bytes()


def test_what_is_refused_can_still_be_staged_for_the_trainer_to_look_at(folder: Path, tmp_path: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {"a": "b.safetensors"}}')
    for name in ("extra.json", "tokenizer_config.json"):
        (folder / name).write_text("[")
    found = model_folder.look(folder)
    assert [bad.code for _, bad in found.faults] == ["safetensors_invalid", "tokenizer_missing", "config_invalid"]
    assert found.sound(model_folder.FILES, model_folder.CONFIG)
    staged = tmp_path / "staged"
    staged.mkdir()
    model_folder.stage(folder, staged)
    assert (staged / CONFIG).is_file()


def test_only_what_names_code_is_written_anew(folder: Path, tmp_path: Path) -> None:
    (folder / "extra.json").write_text('[{"a": {"auto_map": 1, "b": 2.50}}]')
    (folder / "other.json").write_text('{"b":  2.50}')
    staged = tmp_path / "staged"
    staged.mkdir()
    model_folder.stage(folder, staged)
    assert read_json(staged / "extra.json") == [{"a": {"b": 2.5}}]
    assert (staged / "other.json").read_text() == '{"b":  2.50}'


def test_the_facts_of_a_whole_folder(folder: Path) -> None:
    header, _ = header_of(folder / SINGLE)
    size = sum((e["data_offsets"][1] - e["data_offsets"][0]) // 4 for n, e in header.items() if n != "__metadata__")
    known = model_folder.check(folder).model_dump()
    assert {(m["name"], m["rows"], m["columns"], m["count"]) for m in known.pop("matrices")} >= {
        ("model.embed_tokens", 320, 64, 1),
        ("model.layers.*.self_attn.k_proj", 32, 64, 2),
        ("model.layers.*.mlp.down_proj", 64, 128, 2),
    }
    assert known == {
        "parameters": size,
        "dtype": "float32",
        "architecture": "LlamaForCausalLM",
        "context_length": 256,
        "vocab_size": 320,
        "hidden_size": 64,
        "layers": 2,
        "intermediate_size": 128,
        "heads": 4,
        # Only the trainer knows them.
        "linear": None,
        "experts": 0,
    }


def test_a_split_model_has_the_facts_of_the_whole_one(folder: Path) -> None:
    whole = model_folder.check(folder)
    split(folder)
    assert model_folder.check(folder) == whole


def test_a_model_for_raw_texts_needs_no_template(folder: Path) -> None:
    assert model_folder.has_template(folder)
    no_template(folder)
    assert model_folder.check(folder).layers == 2
    assert not model_folder.has_template(folder)


@pytest.mark.parametrize("where", ["given", "configuration", "named default"])
def test_the_template_may_stand_elsewhere(folder: Path, where: str) -> None:
    template = (folder / TEMPLATE).read_text()
    no_template(folder)
    if where == "configuration":
        change(folder, "tokenizer_config.json", chat_template=template)
    if where == "named default":
        named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": template}]
        change(folder, "tokenizer_config.json", chat_template=named)
    assert model_folder.check(folder, chat_template=where == "given").layers == 2


def test_a_tokenizer_may_be_a_configuration_and_its_vocabulary(folder: Path) -> None:
    (folder / TOKENIZER).unlink()
    (folder / "vocab.json").write_text('{"auto_map": 1}')  # a token, not a setting
    (folder / "merges.txt").write_text("")
    assert model_folder.check(folder).vocab_size == 320


def test_only_what_belongs_to_the_model_is_taken(folder: Path) -> None:
    for name in ("pytorch_model.bin", ".hidden.json", "other.safetensors"):
        (folder / name).write_bytes(b"x")
    (folder / "README.md").write_text("of the model")
    assert {path.as_posix() for path in model_folder.files(folder)} == {
        *(CONFIG, TOKENIZER, TEMPLATE, SINGLE, "README.md", "generation_config.json", "tokenizer_config.json")
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"hidden_size": 8, "num_hidden_layers": 2, "state_size": 4}, facts.UNLIMITED),
        ({"num_hidden_layers": 2, "num_heads": 4, "state_size": 4}, facts.UNLIMITED),
        ({"num_hidden_layers": 2, "num_attention_heads": 2, "block_types": ["recurrent"]}, facts.UNLIMITED),
        ({"num_hidden_layers": 2, "num_attention_heads": 2}, None),
        ({"n_layer": 2, "n_head": 2, "n_positions": 64}, 64),
        ({"text_config": {"max_position_embeddings": 32}}, 32),
        ({}, None),
    ],
)
def test_a_model_without_attention_has_no_longest_context(config: dict[str, Any], expected: int | None) -> None:
    assert facts.context_length(config) == expected
