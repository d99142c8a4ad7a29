"""Base models that an older version of Palate stored: what can only be told now is told once, as the model's fault."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.contract.errors import BadModel
from core.contract.exits import Exit
from tests.models import make_tiny_model
from tests.support.spoiled import INDEX, SINGLE, renamed, retype
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
