"""Files of which much falls out: what the inspection counts, says and blocks. The files are findings that the project
does not carry; they are looked for in ../shared/findings/cases."""

from pathlib import Path
from typing import Any

import pytest

from core.contract.run_spec import Inspection, InspectSpec
from preferences.check import check_file
from tests.conftest import ROOT
from tests.models import make_tiny_model
from trainer.inspect import inspect

CASES = ROOT.parent / "shared" / "findings" / "cases"
# The tiny model's tokenizer makes more tokens of a text than a real one: between the short and the long prompts.
BETWEEN = 1_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def inspected(name: str, model: Path, folder: Path, **more: Any) -> Inspection:
    path = CASES / name
    if not path.is_file():
        pytest.skip(
            f"{name} is a reported input that the project does not carry; it is looked for in ../shared/findings"
        )
    with (folder / "data.zst").open("wb") as out:
        assert check_file(path, canonical=out).error is None
    return inspect(InspectSpec(model_dir=model, data=folder / "data.zst", loss="sigmoid", out=folder / "out", **more))


@pytest.mark.parametrize(
    ("name", "long", "severity"), [("half-long/pairs32.jsonl", 32, "block"), ("half-long/pairs40.jsonl", 40, "block")]
)
def test_from_one_half_on_what_is_too_long_blocks(
    name: str, long: int, severity: str, model: Path, tmp_path: Path
) -> None:
    config = model / "config.json"
    wide = tmp_path / "wide"
    wide.mkdir()
    for each in model.iterdir():
        (wide / each.name).write_bytes(each.read_bytes())
    text = config.read_text().replace('"max_position_embeddings": 256', '"max_position_embeddings": 8192')
    (wide / "config.json").write_text(text)
    found = inspected(name, wide, tmp_path, max_length=BETWEEN)
    assert (found.records, found.problem_counts) == (64, {"too_long": long})
    assert found.left_out == f"{long} records left out (too_long: {long})"
    (cut,) = (each for each in found.checks if each.code == "truncation")
    assert (cut.severity, cut.count) == (severity, long)


def test_text_that_would_become_a_special_token_is_counted(model: Path, tmp_path: Path) -> None:
    """`<s>` strikes through in HTML, and begins a text of this tokenizer."""
    found = inspected("html-strike/pairs.jsonl", model, tmp_path, max_length=256)
    assert (found.records, found.problem_counts) == (24, {"special_token_in_text": 4})
    assert found.left_out == "4 records left out (special_token_in_text: 4)"
    (steered,) = (each for each in found.checks if each.code == "special_token_in_text")
    assert (steered.severity, steered.count) == ("warn", 4)


def test_reasons_stand_by_their_weight() -> None:
    counts = {"b": 2, "too_long": 30, "a": 2}
    mixed = Inspection(records=40, usable=6, max_length=8, context_length=8, problem_counts=counts, ties=3)
    assert mixed.left_out == "34 records and 3 ties left out (too_long: 30, a: 2, b: 2)"
    none = Inspection(records=4, usable=4, max_length=8, context_length=8)
    assert none.left_out == "0 records left out"
