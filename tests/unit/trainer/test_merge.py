"""A LoRA adapter added to its base: the merged folder speaks as PEFT does with the two."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core.contract import manifest
from core.contract.errors import BadModel
from planning import model_folder
from tests.models import make_tiny_model
from tests.support.spoiled import pointer
from trainer import merge
from trainer.safetensors_file import BASE_DIGEST

# PEFT still asks transformers in its older words.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
IDS = torch.arange(8, 20)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import load_file, save_file

    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "base")
    held = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def make_adapter(base: Path, folder: Path, **more: Any) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", **more)
        adapted = get_peft_model(model, config)
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.01)
        adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(base, tmp_path_factory.mktemp("adapters") / "sft")


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_the_merged_model_is_base_and_adapter(base: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = make_adapter(base, tmp_path / "adapter", **more)
    (told,) = merge.merge(base, adapter, tmp_path / "merged")
    assert told == f"{adapter}, an adapter of {base}, is merged into {base} in fp32; the tokenizer is the base's."
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        before = plain(IDS).logits
        wanted = PeftModel.from_pretrained(plain, adapter)(IDS).logits
        made = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        assert made.dtype == torch.float32
        torch.testing.assert_close(made(IDS).logits, wanted, rtol=1e-5, atol=1e-5)
        assert (before - wanted).abs().max() > 1e-2
    assert sorted(path.name for path in (tmp_path / "merged").iterdir()) == [
        *("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    ]


def test_the_tokenizer_that_an_adapter_brings_is_its_own(base: Path, adapter: Path, tmp_path: Path) -> None:
    brought = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, brought / name)
    (brought / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (told,) = merge.merge(base, brought, tmp_path / "merged")
    assert told.endswith("the tokenizer is the adapter's.")
    assert (tmp_path / "merged" / "chat_template.jinja").read_text() == "{{ messages[0].content }}"


def change(name: str, **fields: Any) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | fields))

    return edit


def other_names(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    held = {name.replace(".layers.1.", ".layers.7."): tensor for name, tensor in load_file(path).items()}
    save_file(held, path, {"format": "pt"})


def in_fp8(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(path).items()}, path)


SPOILED: list[tuple[str, str, str, Callable[[Path], object]]] = [
    ("no weights", "adapter_missing", "has no adapter_model.safetensors", lambda f: (f / merge.WEIGHTS).unlink()),
    ("no settings", "adapter_missing", "has no adapter_config.json", lambda f: (f / merge.CONFIG).unlink()),
    ("no JSON", "adapter_unfit", "is not JSON", lambda f: (f / merge.CONFIG).write_text("[" * 5000)),
    ("of another kind", "adapter_unfit", "peft_type: IA3", change(merge.CONFIG, peft_type="IA3")),
    ("other layers", "adapter_unfit", "does not fit the base", change(merge.CONFIG, target_modules=["w1"])),
    ("another rank", "adapter_unfit", "does not fit the base", change(merge.CONFIG, r=8)),
    ("of a longer model", "adapter_unfit", "which the base has no place for", other_names),
    (
        "cut",
        "safetensors_invalid",
        "not a whole safetensors file",
        lambda f: (f / merge.WEIGHTS).write_bytes(b"x" * 20),
    ),
    ("weights in words only", "lfs_pointer", "run `git lfs pull`", lambda f: pointer(f / merge.WEIGHTS)),
    ("settings in words only", "lfs_pointer", "run `git lfs pull`", lambda f: pointer(f / merge.CONFIG)),
    ("a tokenizer in words only", "lfs_pointer", "run `git lfs pull`", lambda f: pointer(f / "tokenizer.json")),
    ("in fp8", "quantised_weights", "is F8_E4M3", in_fp8),
]


@pytest.mark.parametrize(("code", "words", "spoil"), [pytest.param(*rest, id=name) for name, *rest in SPOILED])
def test_what_is_no_adapter_of_this_base_is_refused(
    base: Path, adapter: Path, tmp_path: Path, code: str, words: str, spoil: Callable[[Path], object]
) -> None:
    spoiled = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    spoil(spoiled)
    with pytest.raises(BadModel) as refusal:
        merge.merge(base, spoiled, tmp_path / "merged")
    assert refusal.value.code == code
    assert words in refusal.value.message
    assert str(spoiled) in refusal.value.message
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("where", ["metadata", "revision"])
@pytest.mark.parametrize("own", [True, False])
def test_another_base_than_the_adapter_names_is_told(
    base: Path, adapter: Path, tmp_path: Path, where: str, own: bool
) -> None:
    """The digest is the one under which `palate models add` stores the base; another of the same shapes has another."""
    from safetensors.torch import load_file, save_file

    (tmp_path / "staged").mkdir()
    model_folder.stage(base, tmp_path / "staged")
    digest = manifest.build(tmp_path / "staged").digest()
    exported = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    if where == "metadata":
        change(merge.CONFIG, revision="main")(exported)
        weights = load_file(exported / merge.WEIGHTS)
        save_file(weights, exported / merge.WEIGHTS, {"format": "pt", BASE_DIGEST: digest})
    else:
        change(merge.CONFIG, revision=digest)(exported)
    onto = base if own else make_tiny_model(tmp_path / "other", seed=1)
    told = merge.merge(onto, exported, tmp_path / "merged")[1:]
    if own:
        assert told == []
    else:
        (line,) = told
        assert line.startswith(f"the adapter was trained on a base of digest {digest[:12]}, and {onto} has ")
    assert (tmp_path / "merged" / "model.safetensors").is_file()


@pytest.mark.parametrize("revision", ["main", "a" * 40, None, 7, ["a" * 64]])
def test_a_revision_that_is_no_digest_says_nothing(base: Path, adapter: Path, revision: object) -> None:
    assert merge.other_base(base, adapter, {"revision": revision}) == []
