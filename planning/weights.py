"""Which safetensors files make a model, and whether they are whole and hold what their index says."""

from pathlib import Path

from core.contract.errors import BadModel
from planning import tensors
from planning.model_json import read_json
from planning.tensors import Tensor

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


def names(folder: Path) -> list[str]:
    """The safetensors files that make the model: those of the index, or the single one."""
    index, single = folder / INDEX, folder / SINGLE
    if index.is_file() and single.is_file():
        raise BadModel(f"{folder} has both {INDEX} and {SINGLE}; remove one.", code="safetensors_invalid")
    if single.is_file():
        return [SINGLE]
    return sorted(set(weight_map(index).values())) if index.is_file() else []


def weight_map(index: Path) -> dict[str, str]:
    found = read_json(index, "safetensors_invalid")
    named = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(named, dict) or not named:
        raise BadModel(f"{index} has no `weight_map`; save the model again.", code="safetensors_invalid")
    for name in named.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise BadModel(f"{index} names {name!r}, no safetensors file beside it.", code="safetensors_invalid")
    return named


def read(folder: Path) -> list[Tensor]:
    files = names(folder)
    if not files:
        raise BadModel(
            f"{folder} has no {SINGLE}; save the model with save_pretrained(), which writes safetensors.",
            code="model_safetensors_missing",
        )
    held: dict[str, str] = {}
    found: list[Tensor] = []
    for name in files:
        if not (folder / name).is_file():
            raise BadModel(f"{folder} lacks {name}, which {INDEX} names; add it.", code="model_safetensors_missing")
        for tensor in tensors.read(folder / name):
            held[tensor.name] = name
            found.append(tensor)
    if files != [SINGLE]:
        for tensor_name, file in held.items() ^ weight_map(folder / INDEX).items():
            raise BadModel(
                f"{INDEX} and {file} in {folder} do not agree on tensor {tensor_name!r}; save the model again.",
                code="safetensors_invalid",
            )
    if not found:
        raise BadModel(f"{folder / SINGLE} holds no tensor; save the model again.", code="safetensors_invalid")
    return found
