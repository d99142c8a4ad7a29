"""A GGUF file as a model's folder: `python -m trainer gguf FILE FOLDER` writes de-quantised fp32 safetensors beside the
tokenizer that the file holds. They are the file's weights, not those that its author published before quantising.

Taken are llama (Mistral among them), qwen2 and qwen3 with plain rotary positions, and only where every tensor of the
file has its place: what a reader leaves out in silence makes another model. Names and layout: llama.cpp's
gguf-py/gguf/constants.py and, for llama's rows of Q and K, which it permutes, convert_hf_to_gguf.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contract.errors import BadModel
from planning import weights
from planning.model_folder import is_pointer, pointer
from trainer import gguf_header, gguf_tokenizer
from trainer.failures import of_the_node
from trainer.folder import first_line
from trainer.gguf_header import INSTEAD, MAGIC, Unfit, damaged, shown

TYPES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
ALSO = {
    "llama": {},
    "qwen2": {f"attn_{each}.bias": f"self_attn.{each}_proj.bias" for each in "qkv"},
    "qwen3": {f"attn_{each}_norm.weight": f"self_attn.{each}_norm.weight" for each in "qk"},
}
ENDS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
HEAD = {"output.weight": "lm_head.weight"}
# Beside these, other ways to turn positions, to attend or to route: none of them is read here.
SIZES = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
OPTIONAL = {"attention.head_count_kv": "num_key_value_heads", "attention.key_length": "head_dim"}
ROTARY = {"rope.freq_base", "rope.dimension_count"}
FRACTIONS = {"attention.layer_norm_rms_epsilon", "rope.freq_base"}
SAME = {"vocab_size", "attention.value_length", "tensor_data_layout"}
NUMBER, NUMBERS, TEXT, TEXTS, TRUTH = "a whole number", "numbers", "a text", "texts", "true or false"
# What the entries must be that are read by name, beside the architecture's sizes.
KINDS = {
    "split.count": NUMBER,
    "tokenizer.chat_template": TEXT,
    "tokenizer.ggml.model": TEXT,
    "tokenizer.ggml.pre": TEXT,
    "tokenizer.ggml.tokens": TEXTS,
    "tokenizer.ggml.merges": TEXTS,
    "tokenizer.ggml.scores": NUMBERS,
    "tokenizer.ggml.token_type": NUMBERS,
    "tokenizer.ggml.add_bos_token": TRUTH,
    "tokenizer.ggml.add_eos_token": TRUTH,
    "tokenizer.ggml.add_space_prefix": TRUTH,
    "tokenizer.ggml.eos_token_id": NUMBER,
    **dict.fromkeys(gguf_tokenizer.IDS, NUMBER),
}


def convert(file: Path, folder: Path) -> list[str]:
    """Fills the empty or missing `folder`; returns what a person should know. Raises BadModel, with all reasons."""
    reader = opened(file)
    try:
        found = fields(reader)
        reasons = unfit(found, reader)
        if reasons:
            raise Unfit(f"{file} cannot be trained: {'; '.join(reasons)}. Rather {INSTEAD}.")
        config = configured(found, reader)
        tokenizer = gguf_tokenizer.load(file, found)
        save_model(reader, found, config, folder)
        tokenizer.save_pretrained(folder)
    except BadModel:
        raise
    # The libraries, the de-quantiser among them, raise what they meet in a file that makes no sense.
    except Exception as error:
        raise of_the_node(error) or Unfit(f"{file} cannot be read: {first_line(error)}. Rather {INSTEAD}.") from error
    kinds = sorted({tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1})
    return [f"{file} is de-quantised ({', '.join(kinds)} to F32): not the weights that its author published."]


def opened(file: Path) -> Any:
    from gguf import GGMLQuantizationType, GGUFReader

    try:
        with file.open("rb") as stream:
            magic = stream.read(len(MAGIC))
    except OSError as error:
        raise of_the_node(error) or Unfit(f"{file} cannot be read: {error.strerror}.") from error
    if is_pointer(file):
        raise pointer(file)
    if magic != MAGIC:
        raise Unfit(f"{file} is no GGUF file; name a model's folder, or one.")
    gguf_header.check(file, {int(each) for each in GGMLQuantizationType})
    try:
        return GGUFReader(file)
    # The reader raises what it meets where the tensors' bytes end too soon.
    except Exception as error:
        raise of_the_node(error) or damaged(file, first_line(error)) from error


def fields(reader: Any) -> dict[str, Any]:
    """Every entry of the file's head, as Python's own types."""
    return {name: field.contents() for name, field in reader.fields.items()}


def own(found: dict[str, Any]) -> dict[str, Any]:
    """The entries of the architecture, without its name."""
    prefix = f"{found.get('general.architecture')}."
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def unfit(found: dict[str, Any], reader: Any) -> list[str]:
    """All that keeps the file from being trained as what it is."""
    kind = found.get("general.architecture")
    if not isinstance(kind, str) or kind not in TYPES:
        named = shown(kind) if isinstance(kind, str) and kind else "not named" if not kind else "no text"
        return [f"its architecture is {named}, and only {', '.join(TYPES)} are taken"]
    strange = [
        f"its {name} is not {kind}" for name, kind in KINDS.items() if name in found and not is_(found[name], kind)
    ]
    if strange:
        return strange
    if found.get("split.count", 1) > 1:
        return [f"it is one part of {found['split.count']}"]
    return [*unfit_settings(own(found)), *unfit_tensors(found, reader), *gguf_tokenizer.unfit(found)]


def is_(value: Any, kind: str) -> bool:
    several: dict[str, Any] = {TEXTS: str, NUMBERS: (int, float)}
    if kind in several:
        return isinstance(value, list) and all(isinstance(each, several[kind]) for each in value)
    return type(value) is {NUMBER: int, TEXT: str, TRUTH: bool}[kind]


def unfit_settings(settings: dict[str, Any]) -> list[str]:
    reasons = []
    scaled = sorted(name for name in settings if name.startswith("rope.scal"))
    if scaled:
        reasons.append(f"it scales its rotary positions ({listed(scaled)}), which is not read from GGUF")
    unknown = sorted(set(settings) - {*SIZES, *OPTIONAL, *ROTARY, *SAME, *scaled})
    if unknown:
        reasons.append(f"nothing is known of its {listed(unknown)}")
    missing = sorted(set(SIZES) - set(settings))
    if missing:
        reasons.append(f"it does not name its {', '.join(missing)}")
    known = {*SIZES, *OPTIONAL, *ROTARY} & set(settings)
    strange = sorted(name for name in known if not number(settings[name], whole=name not in FRACTIONS))
    if strange:
        reasons.append(f"its {', '.join(strange)} is no single number above 0")
    elif not missing and "rope.dimension_count" in settings and settings["rope.dimension_count"] != width(settings):
        reasons.append(f"only {settings['rope.dimension_count']} of {width(settings)} numbers of a head are turned")
    return reasons


def number(value: Any, *, whole: bool = True) -> bool:
    return isinstance(value, int if whole else float) and not isinstance(value, bool) and 0 < value < float("inf")


def width(settings: dict[str, Any]) -> int:
    """Of a head."""
    return int(settings.get("attention.key_length") or settings["embedding_length"] // settings["attention.head_count"])


def unfit_tensors(found: dict[str, Any], reader: Any) -> list[str]:
    layers = own(found).get("block_count", 0)
    if not number(layers):
        return []
    if layers > len(reader.tensors):
        return [f"it lacks tensors (it holds {len(reader.tensors)}, and says that it has {layers} layers)"]
    wanted, held = places(found), [tensor.name for tensor in reader.tensors]
    reasons = []
    turning = sorted(name for name in held if name.startswith("rope_f"))
    if turning:
        reasons.append(f"it holds {listed(turning)}: its rotary positions are scaled, which is not read from GGUF")
    more = sorted(set(held) - set(wanted) - set(HEAD) - set(turning))
    if more:
        reasons.append(f"it holds tensors that have no place in the model ({some(more)})")
    missing = sorted(set(wanted) - set(held))
    if missing:
        reasons.append(f"it lacks tensors ({some(missing)})")
    if any(len(tensor.shape) != 2 for tensor in reader.tensors if tensor.name == "token_embd.weight"):
        reasons.append("its token_embd.weight is no matrix")
    tokens = len(found.get("tokenizer.ggml.tokens") or [])
    rows = max(
        (int(tensor.shape[-1]) for tensor in reader.tensors if tensor.name == "token_embd.weight"), default=tokens
    )
    if tokens > rows:
        reasons.append(f"its tokenizer has {tokens} tokens, and its table {rows} rows")
    return reasons


def places(found: dict[str, Any]) -> dict[str, str]:
    """Where each tensor of the file belongs; the head stands beside these, where it is not the embeddings."""
    kind = found["general.architecture"]
    layer = {**LAYER, **ALSO[kind]}
    return ENDS | {
        f"blk.{n}.{name}": f"model.layers.{n}.{place}"
        for n in range(int(own(found)["block_count"]))
        for name, place in layer.items()
    }


def some(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(map(shown, names[:3]))}{', …' if names[3:] else ''}"


def listed(names: list[str]) -> str:
    return weights.listed([shown(name) for name in names])


def configured(found: dict[str, Any], reader: Any) -> Any:
    """Of transformers; Mistral's file says llama, and its model is one without the window, which no such file has."""
    import transformers

    kind, settings = found["general.architecture"], own(found)
    names = {tensor.name: tensor for tensor in reader.tensors}
    ids = {
        f"{name}_token_id": found[key]
        for name, key in (("bos", "tokenizer.ggml.bos_token_id"), ("pad", "tokenizer.ggml.padding_token_id"))
        if key in found
    }
    sizes = {place: rounded(settings[name]) for name, place in {**SIZES, **OPTIONAL}.items() if name in settings}
    return getattr(transformers, f"{TYPES[kind]}Config")(
        **{"num_key_value_heads": sizes["num_attention_heads"], "head_dim": width(settings), **sizes, **ids},
        vocab_size=int(names["token_embd.weight"].shape[1]),
        rope_parameters={"rope_type": "default", "rope_theta": float(rounded(settings.get("rope.freq_base", 10000.0)))},
        tie_word_embeddings="output.weight" not in names,
        eos_token_id=ends(found)[0],
        architectures=[f"{TYPES[kind]}ForCausalLM"],
        dtype="float32",
    )


def rounded(value: float) -> float:
    """As it was written before the file made it an fp32 number."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def ends(found: dict[str, Any]) -> list[int]:
    """The tokens at which generation stops: the tokenizer's end, and those of a turn and of a message."""
    ids = [found.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    return list(dict.fromkeys(int(each) for each in ids if each is not None))


def save_model(reader: Any, found: dict[str, Any], config: Any, folder: Path) -> None:
    """Held against the model's own names and shapes before a byte is written."""
    import torch
    from gguf import dequantize
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, GenerationConfig

    where = {**places(found), **HEAD}
    heads = {"attn_q.weight": config.num_attention_heads, "attn_k.weight": config.num_key_value_heads}
    made: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        weight = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        last = tensor.name.split(".", 2)[-1]
        if found["general.architecture"] == "llama" and last in heads:
            weight = halves_apart(weight, heads[last])
        made[where[tensor.name]] = torch.from_numpy(weight.copy())
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shapes = {name: each.shape for name, each in model.named_parameters()}
    for name in sorted(shapes.keys() | made.keys()):
        if name not in shapes or name not in made or shapes[name] != made[name].shape:
            read = tuple(made[name].shape) if name in made else "missing"
            raise ValueError(f"{name} is {read} where the model has {tuple(shapes.get(name, ()))}")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(made, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    stops = ends(found)
    GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=stops if len(stops) > 1 else stops[0],
        pad_token_id=config.pad_token_id,
    ).save_pretrained(folder)


def halves_apart(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of Q or K, of which llama.cpp puts the two halves of a head side by side, in the order of transformers."""
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return pairs.swapaxes(1, 2).reshape(weight.shape)
