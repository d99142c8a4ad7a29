"""The reload check reads what was exported by the same head as the engine did."""

import json
from pathlib import Path

import pytest
import torch

from core.contract.run_spec import RunSpec, Settings
from tests.models import make_tiny_model
from trainer import model
from trainer.collection import Collection
from trainer.data import Example
from trainer.failures import GateFailed
from trainer.layouts import collate
from trainer.render import Answer
from trainer.scorer import Scorer
from trainer.verify import reload_check

CPU = torch.device("cpu")
EXAMPLES = [
    Example(str(n), n, 4, tuple(Answer(tuple(range(5 + n, 5 + n + size)), ((4, size),)) for size in (16, 20)))
    for n in range(3)
]


def nothing() -> None:
    """No stop is wished."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model for whose head the fused one is wrong: its configuration names a factor that its own head ignores."""
    found = make_tiny_model(tmp_path / "model")
    config = json.loads((found / "config.json").read_text())
    (found / "config.json").write_text(json.dumps(config | {"logit_scale": 3.0}))
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_where_the_engine_used_the_model_s_own_head_so_does_the_check(folder: Path, precision: str) -> None:
    spec = RunSpec.model_validate(
        {"run_id": "r", "workspace": folder, "model_dir": folder, "model_digest": "", "train_data": folder}
        | {"train_digest": "", "settings": Settings.model_validate({"precision": precision})}
    )
    engine = Scorer(model.load(folder, precision)).eval()
    batch = collate(EXAMPLES, "padded", CPU)
    with torch.no_grad():
        assert engine.fused
        wrong = engine(batch)
        engine.fused = False
        right = engine(batch)
    assert wrong.shape == right.shape == (Collection(EXAMPLES).sequences, 2)
    assert reload_check(spec, folder, EXAMPLES, right, CPU, False, nothing) <= 1e-2
    with pytest.raises(GateFailed):
        reload_check(spec, folder, EXAMPLES, wrong, CPU, False, nothing)


def test_in_bf16_the_fused_head_of_the_engine_is_the_check_s(folder: Path) -> None:
    spec = RunSpec.model_validate(
        {"run_id": "r", "workspace": folder, "model_dir": folder, "model_digest": "", "train_data": folder}
        | {"train_digest": "", "settings": Settings(precision="bf16")}
    )
    with torch.no_grad():
        expected = Scorer(model.load(folder, "bf16")).eval()(collate(EXAMPLES, "padded", CPU))
    assert reload_check(spec, folder, EXAMPLES, expected, CPU, True, nothing) <= 1e-2
