"""A model's folder that means harm: each refused in bounded time and memory, or without what it would have loaded."""

import json
import os
import shutil
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from core.contract.errors import BadModel
from planning import model_folder, model_json, tensors
from planning.at_rest import at_rest
from tests.support.spoiled import CONFIG, SINGLE, TOKENIZER, change, first, header_of, reheader, write_tensors

ABSURD: list[tuple[str, Any]] = [
    ("hidden_size", 10**9),
    ("max_position_embeddings", 10**18),
    ("max_position_embeddings", -1),
    ("max_position_embeddings", 4096.0),
    ("num_hidden_layers", 10**9),
    ("num_hidden_layers", "2"),
    ("num_attention_heads", 2.5),
    ("num_attention_heads", True),
    ("intermediate_size", [64, 10**12]),
    ("vocab_size", 10**400),
    ("text_config", {"num_hidden_layers": -2}),
]


def refused(folder: Path) -> str:
    with pytest.raises(BadModel) as refusal:
        model_folder.check(folder)
    assert len(refusal.value.message) < 5_000
    assert all(line.isprintable() for line in refusal.value.message.splitlines())
    return refusal.value.message


@pytest.mark.parametrize(("key", "value"), ABSURD, ids=[f"{key}={str(value)[:20]}" for key, value in ABSURD])
def test_numbers_that_no_model_has(folder: Path, key: str, value: Any) -> None:
    change(folder, CONFIG, **{key: value})
    named = f"`{key}.num_hidden_layers`" if isinstance(value, dict) else f"`{key}`"
    assert f"{named} is " in refused(folder)


def test_all_of_them_are_said_at_once(folder: Path) -> None:
    change(folder, CONFIG, hidden_size=10**9, num_hidden_layers=-3)
    (folder / TOKENIZER).unlink()
    message = refused(folder)
    assert message.startswith("3 things are wrong")
    assert "`hidden_size` is 1000000000" in message
    assert "`num_hidden_layers` is -3" in message


def test_a_header_of_more_tensors_than_a_model_has(folder: Path) -> None:
    """89 MB of them were 17 s and 1.2 GiB."""
    entry = json.dumps({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
    names = b",".join(b'"%d":%s' % (number, entry.encode()) for number in range(200_000))
    write_tensors(folder / SINGLE, b"{" + names + b"}", b"")
    bounded(folder, "names 200,000 tensors")


def test_a_header_longer_than_is_read(folder: Path) -> None:
    write_tensors(folder / SINGLE, b"[" + b"0," * (tensors.HEADER_LIMIT // 2) + b"0]", b"")
    bounded(folder, "its header claims")


@pytest.mark.parametrize("shape", [[0] * 1_000_000, [10**4_000] * 1_000, [1 << 63]])
def test_a_shape_that_no_tensor_has(folder: Path, shape: list[int]) -> None:
    reheader(lambda header: first(header).update(shape=shape))(folder)
    bounded(folder, "")


@pytest.mark.parametrize("name", ["a\x1b[31mred", "a\x00b", "a\u202egnp.weight", "a\nb", "x" * 600])
def test_a_name_of_a_tensor_reaches_nobody_unread(folder: Path, name: str) -> None:
    def rename(header: dict[str, Any]) -> None:
        header[name] = header.pop(next(each for each in header if each != "__metadata__"))

    reheader(rename)(folder)
    assert "is no name of a tensor" in refused(folder)


@pytest.mark.parametrize("name", ["a\x1b[31m.json", "b\u202enosj.txt", "c\nd.md"])
def test_a_name_of_a_file_is_printable(folder: Path, name: str) -> None:
    (folder / name).write_text("{}")
    assert "control characters" in refused(folder)


@pytest.mark.parametrize("levels", [101, 900, 990, 100_000])
@pytest.mark.parametrize("name", ["config.json", "x.json", "tokenizer.json", "header"])
def test_what_nests_deeply(folder: Path, name: str, levels: int) -> None:
    nested = b'{"auto_map":' * levels + b"1" + b"}" * levels
    if name == "header":
        write_tensors(folder / SINGLE, nested, b"")
    else:
        (folder / name).write_bytes(nested)
    refused(folder)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "x.json")
    assert "is a pipe" in refused(folder)


@pytest.mark.parametrize("key", model_json.FOREIGN)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_what_would_load_something_else_is_left_out(folder: Path, tmp_path: Path, name: str, key: str) -> None:
    if not (folder / name).exists():
        (folder / name).write_text("{}")
    change(folder, name, inner={"a": [{key: "evil/kernel"}]}, **{key: "evil/kernel"})
    assert any(f"`{key}` of {name}" in each for each in model_folder.look(folder).told)
    (tmp_path / "staged").mkdir()
    model_folder.stage(folder, tmp_path / "staged")
    assert "evil" not in (tmp_path / "staged" / name).read_text()
    assert "evil" in (folder / name).read_text()


def linked(folder: Path) -> None:
    shutil.move(folder / TOKENIZER, folder.parent / "secret.json")
    (folder / TOKENIZER).symlink_to(folder.parent / "secret.json")


def adapter_added(folder: Path) -> None:
    (folder / model_folder.ADAPTER).write_text('{"peft_type": "LORA"}')


def test_a_link_that_comes_after_the_look_is_refused(folder: Path, tmp_path: Path) -> None:
    assert model_folder.look(folder).sound(model_folder.FILES)
    linked(folder)
    (tmp_path / "staged").mkdir()
    with pytest.raises(BadModel, match="link out of the folder"):
        model_folder.stage(folder, tmp_path / "staged")


def test_an_adapter_that_comes_after_the_look_is_not_stored(folder: Path, tmp_path: Path) -> None:
    adapter_added(folder)
    (tmp_path / "staged").mkdir()
    model_folder.stage(folder, tmp_path / "staged")
    assert not (tmp_path / "staged" / model_folder.ADAPTER).exists()


def test_a_file_that_was_another_for_a_while_is_told(folder: Path) -> None:
    """Moved away, read as another, moved back: the same inode, size and time of its content."""
    with pytest.raises(BadModel, match="changed while it was being added"), at_rest(folder):
        away_and_back(folder / TOKENIZER, folder / "aside")


def away_and_back(path: Path, aside: Path) -> None:
    path.rename(aside)
    path.write_text("{}")
    path.unlink()
    aside.rename(path)


def bounded(folder: Path, says: str) -> None:
    began = time.process_time()
    tracemalloc.start()
    try:
        message = refused(folder)
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()
    assert says in message
    assert time.process_time() - began < 10


def test_the_header_of_a_real_model_is_within(folder: Path) -> None:
    assert len(header_of(folder / SINGLE)[0]) < tensors.TENSORS
    model_folder.check(folder)
