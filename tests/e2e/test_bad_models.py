"""`palate models add` on a folder that cannot be used: one sentence, and nothing of it is stored."""

import json
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


def with_auto_map(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(config))


def with_code(folder: Path) -> None:
    (folder / "modeling.py").write_text("raise SystemExit('this must never run')\n")


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no safetensors": (without("model.safetensors"), "model.safetensors"),
    "a pickle instead": (pickled, "writes safetensors"),
    "truncated": (cut_short, "cut short"),
    "truncated header": (cut_in_its_header, "cut short"),
    "no config": (without("config.json"), "config.json"),
    "no tokenizer": (without("tokenizer.json"), "tokenizer.json"),
    "a blank chat template": (blank_template, "--chat-template"),
    "auto_map": (with_auto_map, "auto_map"),
    "code": (with_code, "remove it"),
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
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("palate: ")
    assert words in lines[0]
    assert re.search(r" \([a-z]+(_[a-z]+)+\)$", lines[0]), "the documented code stands last"
    assert "tiny/spoiled" not in [model.id for model in user.sdk.models.list()]


def test_a_template_may_be_given_beside_the_folder(live: Live, user: User, model_folder: Path, tmp_path: Path) -> None:
    folder, template = tmp_path / "model", tmp_path / "template.jinja"
    shutil.copytree(model_folder, folder)
    template.write_text("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}")
    without_template(folder)
    live.palate("models", "add", "tiny/given", str(folder), "--chat-template", str(template))
    listed = user.http.get("/models/tiny/given/files").json()["data"]
    assert "chat_template.jinja" in [each["path"] for each in listed]
