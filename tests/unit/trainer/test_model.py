"""Base models that an older version of Palate stored: what can only be told now is told once, as the model's fault."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.contract.errors import BadModel
from core.contract.exits import Exit
from tests.models import make_tiny_model
from tests.support.spoiled import INDEX, SINGLE, change, renamed, retype
from trainer import model
from trainer.failures import judge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


def damage(folder: Path, ranks: int = 1) -> BadModel:
    """What one of the ranks tells the others."""
    (found,) = filter(None, (model.find_damage(folder, rank, ranks) for rank in range(ranks)))
    assert judge(found).exit == Exit.BAD_MODEL
    return found


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "int8", "uint8"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_quantised_weights_are_refused_by_their_header(folder: Path, dtype: str, ranks: int) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    held = load_file(folder / SINGLE)
    save_file({**held, name: held[name].to(getattr(torch, dtype))}, folder / SINGLE, {"format": "pt"})
    found = damage(folder, ranks)
    assert found.code == "quantised_weights"
    assert f"({name} in {SINGLE} is " in found.message
    assert "full precision" in found.message


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"])
def test_types_that_torch_may_not_know_are_refused_too(folder: Path, dtype: str) -> None:
    retype(folder, "q_proj.weight", dtype, None)
    assert damage(folder).code in ("quantised_weights", "damaged_weights")


def test_packed_weights_are_refused_by_name(folder: Path) -> None:
    renamed("weight_packed")(folder)
    assert damage(folder).code == "quantised_weights"


def test_a_sound_folder_is_not_damaged(folder: Path) -> None:
    assert model.find_damage(folder) is None


@pytest.mark.parametrize("told", ['{"weight_map": 1}', '{"weight_map": {"a": 1}}', "{}", "[" * 9999, "\xff"])
def test_an_index_that_makes_no_sense_is_the_models_fault(folder: Path, told: str) -> None:
    (folder / INDEX).write_text(told, "latin-1")
    assert INDEX in damage(folder).message


def test_an_adapter_beside_the_weights_is_not_laid_over_them(folder: Path) -> None:
    """Every base weight was newly initialised, and nothing missing: what was missing were the adapter's."""
    held = load_file(folder / SINGLE)
    lora = {f"base_model.model.{name}": weight for name, weight in held.items() if "q_proj" in name}
    save_file(lora, folder / SINGLE, {"format": "pt"})
    told = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "base_model_name_or_path": str(folder)}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(BadModel, match="beside its weights") as refused:
        model.load(folder, "fp32")
    assert refused.value.code == "adapter_beside_model"


def test_weights_of_an_adapter_alone_are_no_model(folder: Path) -> None:
    held = load_file(folder / SINGLE)
    save_file({f"base_model.model.{name}": weight for name, weight in held.items()}, folder / SINGLE, {"format": "pt"})
    with pytest.raises(BadModel, match="hold no"):
        model.load(folder, "fp32")


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
def test_a_kernel_that_a_folder_names_is_not_looked_for(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    asked: list[object] = []
    own = PreTrainedModel._check_and_adjust_attn_implementation

    def noted(self: PreTrainedModel, wanted: str | None, **more: bool) -> object:
        asked.append(wanted)
        return own(self, wanted, **more)

    monkeypatch.setattr(PreTrainedModel, "_check_and_adjust_attn_implementation", noted)
    change(folder, "config.json", **{key: "evil/kernel"})
    model.load(folder, "fp32")
    assert asked
    assert "evil/kernel" not in asked
