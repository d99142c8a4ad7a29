"""`palate models add` up to the moment where something would be stored: the files looked at, the trainer asked."""

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli import base_models, place, trainer_process
from cli.base_models import prepare
from core.contract.errors import BadModel
from core.contract.manifest import ManifestMismatch
from planning.facts import ModelFacts
from tests.models import make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


def prepared(source: Path, adapter: Path | None = None) -> ModelFacts:
    workspace = source.parent / "workspace"
    (workspace / "model").mkdir(parents=True)
    return prepare(source, adapter, None, workspace, workspace / "model")


def change(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def test_code_beside_a_known_type_is_left_out_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the first Phi-3 folders came."""
    change(folder, auto_map={"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"})
    for name in ("configuration_x.py", "modeling_x.py", "sample_finetune.py"):
        (folder / name).write_text("raise SystemExit('this must never run')\n")
    facts = prepared(folder)
    assert facts.linear is not None
    assert {each.name for each in facts.linear} >= {"model.layers.*.self_attn.q_proj", "model.layers.*.mlp.up_proj"}
    staged = folder.parent / "workspace" / "model"
    assert not list(staged.glob("*.py"))
    assert "auto_map" not in json.loads((staged / "config.json").read_text())
    assert capsys.readouterr().err.splitlines() == [
        "palate: left out: configuration_x.py, modeling_x.py, sample_finetune.py; code is never run.",
        "palate: left out: `auto_map` of config.json; the code that it names is never run.",
    ]


def test_what_files_and_trainer_find_is_one_list(folder: Path) -> None:
    """Quantised as FP8 checkpoints are, of a type that transformers does not know, with a template that is no Jinja."""
    held = load_file(folder / "model.safetensors")
    packed = {name: weight.to(torch.float8_e4m3fn) for name, weight in held.items() if name.endswith("proj.weight")}
    scales = {f"{name}_scale_inv": torch.ones(1, 1) for name in packed}
    save_file({**held, **packed, **scales}, folder / "model.safetensors", {"format": "pt"})
    change(folder, quantization_config={"quant_method": "fp8"}, model_type="my_llama")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(BadModel) as refusal:
        prepared(folder)
    told = refusal.value.message.splitlines()
    assert told[0] == f"3 things are wrong with {folder}:"
    assert "quantised weights (fp8: " in told[1]
    assert "tokenizer.json is not JSON" in told[2]
    assert "the model type 'my_llama', which transformers" in told[3]
    assert [line.rpartition("(")[2] for line in told[1:4]] == [
        "quantised_weights)",
        "tokenizer_missing)",
        "unknown_architecture)",
    ]


def test_an_adapter_given_as_a_model_names_the_way(folder: Path) -> None:
    adapter = Path(shutil.copytree(folder, folder.parent / "adapter"))
    for name in ("config.json", "model.safetensors"):
        (adapter / name).unlink()
    told = {"peft_type": "LORA", "base_model_name_or_path": "people/base"}
    (adapter / "adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(BadModel, match="--adapter") as refusal:
        prepared(adapter)
    assert refusal.value.code == "model_is_adapter"


@pytest.mark.parametrize(("content", "code"), [(b"GGUF\3\0\0\0", "gguf_damaged"), (b"text", "gguf_unsupported")])
def test_a_file_that_is_no_whole_gguf(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "my model.gguf"
    path.write_bytes(content)
    with pytest.raises(BadModel) as refusal:
        prepared(path)
    assert refusal.value.code == code
    assert str(path) in refusal.value.message


def overwritten(folder: Path) -> None:
    """With weights that cannot be trained, of the same names and sizes."""
    held = {name: weight * torch.nan for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(held, folder / "model.safetensors", {"format": "pt"})


class Deployment:
    """Reached by nothing that was not checked; what is uploaded is only counted."""

    uploads = 0
    while_uploading: Callable[[], object] = staticmethod(lambda: None)

    @contextmanager
    def __call__(self, home: Path) -> Iterator["Deployment"]:
        yield self

    def upload_folder(self, *arguments: object, links: bool, progress: object) -> None:
        self.uploads += 1
        self.while_uploading()
        raise ManifestMismatch("x changed while it was uploaded.")


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    found = Deployment()
    for name in ("session", "store"):
        monkeypatch.setattr(place, name, found)
    return found


def add(source: Path, template: Path | None = None) -> None:
    base_models.add(
        argparse.Namespace(name="x", dir=source, adapter=None, chat_template=template, project=None, home=source.parent)
    )


def test_a_source_that_changes_after_the_check_is_not_stored(
    folder: Path, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = trainer_process.check

    def checked(*arguments: Any) -> Any:
        built = check(*arguments)
        overwritten(folder)
        return built

    monkeypatch.setattr(trainer_process, "check", checked)
    with pytest.raises(BadModel, match="changed while it was being added: add it again") as refusal:
        add(folder)
    assert refusal.value.code == "changed_meanwhile"
    assert str(folder / "model.safetensors") in refusal.value.message
    assert deployment.uploads == 0


def test_a_source_that_changes_while_it_is_uploaded_is_not_stored(folder: Path, deployment: Deployment) -> None:
    deployment.while_uploading = lambda: overwritten(folder)
    with pytest.raises(BadModel, match="add it again") as refusal:
        add(folder)
    assert str(folder / "model.safetensors") in refusal.value.message
    assert deployment.uploads == 1


def test_a_pointer_given_as_a_template_is_told(folder: Path) -> None:
    template = folder.parent / "chat.jinja"
    template.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(BadModel, match=r"chat.jinja is a Git-LFS pointer .* run `git lfs pull`"):
        add(folder, template)
