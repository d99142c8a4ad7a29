"""The alarms on the storyteller: silent on the run that writes well, heard on the one that breaks its language."""

from pathlib import Path
from typing import Any

import pytest

from core.contract.preference import Message, Origin, PreferenceRecord
from core.contract.run_spec import RunSpec, Settings
from demo.data import Pair, pairs
from demo.pretrain import Recipe, ensure
from tests.launch import Run, alone
from tests.pairs import write_records

pytestmark = [pytest.mark.xdist_group("ranks"), pytest.mark.slow]

# A smaller storyteller than the demo's, taught for seconds: it knows the sentences, not yet its opening's names.
RECIPE = Recipe(layers=2, steps=160)


@pytest.fixture(scope="module")
def storyteller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with alone():
        return ensure(tmp_path_factory.mktemp("storyteller"), RECIPE, lambda step, steps, loss: None)[0]


def record(number: int, pair: Pair) -> PreferenceRecord:
    asked, good, flat = (
        [Message(role=role, content=text)]
        for role, text in (("user", pair.opening.text), ("assistant", pair.chosen), ("assistant", pair.rejected))
    )
    origin = Origin(line=number + 1, format="test")
    return PreferenceRecord(id=f"s{number}", prompt=asked, chosen=good, rejected=flat, origin=origin)


def warnings(storyteller: Path, workspace: Path, **changed: Any) -> list[dict[str, Any]]:
    """Of a run of 16 pairs a step."""
    workspace.mkdir()
    told = [record(i, pair) for i, pair in enumerate(pairs("alarms", 320, unseen=False))]
    settings = Settings(batch_size=16, n_epochs=10, **changed)
    spec = RunSpec(
        run_id="alarms",
        workspace=workspace,
        model_dir=storyteller,
        model_digest="storyteller",
        train_data=workspace / "train.zst",
        train_digest=write_records(workspace / "train.zst", told),
        settings=settings,
        row_tokens=4096,
    )
    with alone():
        run = Run(spec)
        assert run.code() == 0, run.logs()
    return run.events("warning")


def test_the_good_run_does_not_lose_its_language(storyteller: Path, tmp_path: Path) -> None:
    """Intriguing and flat endings are told apart soon, which may be said; nothing else is."""
    found = warnings(storyteller, tmp_path / "run", learning_rate=1e-4, nll_weight=1.0, max_steps=40)
    assert {event["code"] for event in found} <= {"accuracy_saturated"}


def test_the_over_optimised_run_is_told_while_it_can_be_stopped(storyteller: Path, tmp_path: Path) -> None:
    found = warnings(storyteller, tmp_path / "run", learning_rate=1e-3, max_steps=40)
    (fall,) = (event for event in found if event["code"] == "chosen_logps_fall")
    assert fall["data"]["step"] < 30
    assert "broken text" in fall["message"], "the cause"
    assert "nll_weight" in fall["message"], "what to do"
