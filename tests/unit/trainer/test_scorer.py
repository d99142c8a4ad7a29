from pathlib import Path

import pytest
import torch

from core.contract.errors import BadModel
from tests.models import make_tiny_model
from tests.pairs import make_records
from trainer import folder, model
from trainer.data import Pair, make_renderer, tokenise
from trainer.export import shards
from trainer.scorer import Scorer, collate, lengths


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def pairs(tiny: Path) -> list[Pair]:
    return tokenise(make_renderer(folder.load_tokenizer(tiny), [1]), make_records(5), 256, "drop").pairs


def test_sums_are_those_of_each_answer_alone(tiny: Path, pairs: list[Pair]) -> None:
    """In a padded batch as unpadded and alone, with the whole log-softmax in float64."""
    plain = model.load(tiny, "fp32").eval()
    with torch.no_grad():
        found = Scorer(plain)(collate(pairs, torch.device("cpu")))
        for row, pair in zip(found, pairs, strict=True):
            for value, answer in zip(row, (pair.chosen, pair.rejected), strict=True):
                ids = torch.tensor([answer.ids])
                table = plain(ids).logits.double().log_softmax(-1)
                scored = [t for start, end in answer.spans for t in range(start, end)]
                expected = sum(float(table[0, t - 1, answer.ids[t]]) for t in scored)
                assert float(value) == pytest.approx(expected, abs=1e-5 * len(scored))
    assert lengths(pairs)[0].tolist() == [sum(e - s for s, e in a.spans) for a in (pairs[0].chosen, pairs[0].rejected)]


def test_damage_is_told_before_training(tiny: Path, tmp_path: Path) -> None:
    assert model.find_damage(tiny) is None
    broken = make_tiny_model(tmp_path / "nan")
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    found = model.find_damage(broken)
    assert found is not None
    assert (found.code, "model.norm.weight" in found.message) == ("non_finite_weights", True)
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    cut = model.find_damage(broken)
    assert cut is not None
    assert cut.code == "damaged_weights"
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(b"a pickle")
    gone = model.find_damage(broken)
    assert gone is not None
    assert gone.code == "missing_weights"
    (broken / "config.json").write_text('{"auto_map": {}}')
    with pytest.raises(BadModel, match="code of its own"):
        model.load(broken, "fp32")


def test_a_shard_is_cut_before_it_passes_its_limit() -> None:
    assert shards({"a": 4, "b": 4, "c": 9, "d": 1, "e": 1}, 8) == [["a", "b"], ["c"], ["d", "e"]]
