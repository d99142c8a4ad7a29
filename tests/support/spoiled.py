"""Ways to spoil a copy of a model's folder."""

import contextlib
import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planning import weights

Spoil = Callable[[Path], object]
CONFIG, TOKENIZER, TEMPLATE = "config.json", "tokenizer.json", "chat_template.jinja"
SINGLE, INDEX = weights.SINGLE, weights.INDEX


def change(folder: Path, name: str, **fields: Any) -> None:
    """Sets these keys of a JSON file; None removes one."""
    known = json.loads((folder / name).read_text()) | fields
    (folder / name).write_text(json.dumps({key: value for key, value in known.items() if value is not None}))


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_tensors(path: Path, header: object, data: bytes) -> None:
    told = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + data)


def split(folder: Path, *, leave_out: int = 0) -> None:
    """The single file as two and an index, which names all but `leave_out` of the tensors."""
    header, data = header_of(folder / SINGLE)
    header.pop("__metadata__", None)
    names = list(header)
    shards = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in range(2)}
    for shard, mine in shards.items():
        told, body = {}, b""
        for name in mine:
            begin, end = header[name]["data_offsets"]
            told[name] = {**header[name], "data_offsets": [len(body), len(body) + end - begin]}
            body += data[begin:end]
        write_tensors(folder / shard, told, body)
    (folder / SINGLE).unlink()
    by_name = {name: shard for shard, mine in shards.items() for name in mine}
    kept = dict(list(by_name.items())[leave_out:])
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": kept}))


def reheader(edit: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        header, data = header_of(folder / SINGLE)
        edit(header)
        write_tensors(folder / SINGLE, header, data)

    return spoil


def first(header: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(value for name, value in header.items() if name != "__metadata__")
    return found


def cut(by: int) -> Spoil:
    def spoil(folder: Path) -> None:
        content = (folder / SINGLE).read_bytes()
        (folder / SINGLE).write_bytes(content[: len(content) - by if by > 0 else -by])

    return spoil


def only_a_pickle(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "pytorch_model.bin")


def link_out(folder: Path) -> None:
    (folder / TOKENIZER).rename(folder.parent / "elsewhere.json")
    (folder / TOKENIZER).symlink_to(folder.parent / "elsewhere.json")


def no_template(folder: Path) -> None:
    (folder / TEMPLATE).unlink()


def circle(folder: Path, link: Path) -> None:
    link.symlink_to(folder / "b.json")
    (folder / "b.json").symlink_to(link)


def a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(folder):
        made.bind("tokenizer.model")


def deep(path: Path, levels: int) -> None:
    path.write_text('{"auto_map":' * levels + "1" + "}" * levels)


def pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 123456\n")


def an_adapter(folder: Path, *, alone: bool) -> None:
    told = {"peft_type": "LORA", "base_model_name_or_path": "someone/base", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    if alone:
        (folder / CONFIG).unlink()
        (folder / SINGLE).unlink()


def retype(folder: Path, ending: str, dtype: str, said: dict[str, Any] | None) -> None:
    """The first tensor of this name as one of a byte an element: four times as many columns fill its bytes."""

    def edit(header: dict[str, Any]) -> None:
        entry = next(value for name, value in header.items() if name.endswith(ending))
        entry.update(dtype=dtype, shape=[entry["shape"][0], 4 * entry["shape"][1]])

    reheader(edit)(folder)
    change(folder, CONFIG, quantization_config=said)


def renamed(last: str) -> Spoil:
    """As GPTQ, bitsandbytes and compressed-tensors name what stands for a weight; config.json may say nothing."""

    def edit(header: dict[str, Any]) -> None:
        name = next(name for name in header if name.endswith("v_proj.weight"))
        header[name.removesuffix("weight") + last] = header.pop(name)

    return reheader(edit)
