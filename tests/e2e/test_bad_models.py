"""`palate models add` on a folder that cannot be used: one sentence, and nothing of it is stored."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.live import Live, User


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def cut_in_its_header(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def blank_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("\n")


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def of_an_unknown_type(folder: Path) -> None:
    change(folder, model_type="chatglm", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    (folder / "modeling.py").write_text("raise SystemExit('this must never run')\n")


def change(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def without_a_head(folder: Path) -> None:
    """Its configuration says that the head is none of the embeddings; no file holds one."""
    change(folder, tie_word_embeddings=False)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no safetensors": (without("model.safetensors"), "model.safetensors"),
    "a pickle instead": (pickled, "writes safetensors"),
    "truncated": (cut_short, "cut short"),
    "truncated header": (cut_in_its_header, "cut short"),
    "no config": (without("config.json"), "config.json"),
    "no tokenizer": (without("tokenizer.json"), "tokenizer.json"),
    "a blank chat template": (blank_template, "--chat-template"),
    "a type of its own": (of_an_unknown_type, "'chatglm', which transformers"),
    "no head": (without_a_head, "hold no lm_head.weight"),
    "fp8": (lambda folder: change(folder, quantization_config={"quant_method": "fp8"}), "quantization_config"),
    "a pipe": (lambda folder: os.mkfifo(folder / "extra.json"), "is a pipe"),
}


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.usefixtures("spotless")
def test_a_folder_that_cannot_be_used(live: Live, user: User, model_folder: Path, tmp_path: Path, name: str) -> None:
    spoil, words = SPOILED[name]
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    spoil(folder)
    done = live.palate("models", "add", "tiny/spoiled", str(folder), good=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("palate: left out: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("palate: ")
    assert words in lines[0]
    assert re.search(r" \([a-z]+(_[a-z]+)+\)$", lines[0]), "the documented code stands last"
    assert "tiny/spoiled" not in [model.id for model in user.sdk.models.list()]


def test_all_that_is_wrong_is_said_at_once(live: Live, model_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    without_a_head(folder)
    blank_template(folder)
    done = live.palate("models", "add", "tiny/spoiled", str(folder), good=False)
    assert done.returncode == 1
    first, *each, last = done.stderr.strip().splitlines()
    assert first == f"palate: 2 things are wrong with {folder}:"
    assert [line[:5] for line in each] == ["  1. ", "  2. "]
    assert "(chat_template_missing)" in each[0]
    assert "(missing_weights)" in each[1]
    assert last == "Nothing of it is stored. (invalid_model)"


def test_a_gguf_file_that_is_cut(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + b"\3\0\0\0" + b"\1" * 40)
    done = live.palate("models", "add", "tiny/spoiled", str(path), good=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"palate: {path} is cut short or damaged")
    assert done.stderr.endswith("(gguf_damaged)\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_template_may_be_given_beside_the_folder(live: Live, user: User, model_folder: Path, tmp_path: Path) -> None:
    folder, template = tmp_path / "model", tmp_path / "template.jinja"
    shutil.copytree(model_folder, folder)
    template.write_text("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}")
    without_template(folder)
    live.palate("models", "add", "tiny/given", str(folder), "--chat-template", str(template))
    listed = user.http.get("/models/tiny/given/files").json()["data"]
    assert "chat_template.jinja" in [each["path"] for each in listed]
