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


def read(folder: Path) -> tuple[list[Tensor], list[BadModel]]:
    """The tensors of all files that can be read, and what is wrong with the others."""
    try:
        files = names(folder)
    except BadModel as bad:
        return [], [bad]
    if not files:
        packed = sorted(path.name for path in folder.glob("*.gguf"))
        instead = "save the model with save_pretrained(), which writes safetensors"
        if packed:
            instead = f"name its GGUF file ({packed[0]}) or the folder of safetensors that it was made from"
        return [], [BadModel(f"{folder} has no {SINGLE}; {instead}.", code="model_safetensors_missing")]
    faults: list[BadModel] = []
    held: dict[str, str] = {}
    found: list[Tensor] = []
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        faults.append(
            BadModel(
                f"{folder} lacks {listed(missing)}, which {INDEX} names; add {'it' if len(missing) == 1 else 'them'}.",
                code="model_safetensors_missing",
            )
        )
    for name in files:
        if name in missing:
            continue
        try:
            read_now = tensors.read(folder / name)
        except BadModel as bad:
            faults.append(bad)
            continue
        held |= {tensor.name: name for tensor in read_now}
        found += read_now
    if faults:
        return found, faults
    if files != [SINGLE]:
        apart = sorted(dict(held.items() ^ weight_map(folder / INDEX).items()).items())
        if apart:
            tensor_name, file = apart[0]
            more = f" and {len(apart) - 1} more" if apart[1:] else ""
            faults.append(
                BadModel(
                    f"{INDEX} and {file} in {folder} do not agree on tensor {tensor_name!r}{more}; save the model "
                    "again.",
                    code="safetensors_invalid",
                )
            )
    if not found:
        faults.append(BadModel(f"{folder / SINGLE} holds no tensor; save the model again.", code="safetensors_invalid"))
    return found, faults


def listed(names: list[str], most: int = 3) -> str:
    """The first of them, and how many more."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
