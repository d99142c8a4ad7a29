"""A GPU too small for the rows: they are halved, the batch is not, and the weights are the undisturbed run's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.e2e.live import Live, triples
from tests.launch import alone
from tests.models import make_tiny_model

pytestmark = pytest.mark.xdist_group("ranks")
SETTINGS = {"batch_size": 8, "n_epochs": 2, "learning_rate": 1e-4}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """`limit` in the test's folder: the tokens of the largest row that fits; without it nothing is small."""
    command = f"{{python}} {ROOT}/tests/cramped_trainer.py {tmp_path / 'limit'} --spec {{spec}}"
    made = Live(tmp_path / "home", PALATE_TRAINER_COMMAND=command, PALATE_RESUME_STEPS="2")
    with alone():
        made.start()
        made.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
        try:
            yield made
        finally:
            made.stop()


def trained(live: Live, file: str) -> tuple[dict[str, Any], list[str]]:
    """A job at its end, and what it said of halved rows."""
    job = live.user.ended(live.user.create("tiny", file, **SETTINGS))
    return job, [each for each in live.user.messages(job["id"]) if "halved" in each]


@pytest.mark.slow
def test_rows_are_halved_until_they_fit(live: Live, tmp_path: Path) -> None:
    file = live.user.upload(triples(40))
    live.user.judged(file)
    plain, nothing = trained(live, file)
    live.palate("pull", plain["fine_tuned_model"], str(tmp_path / "plain"))
    (tmp_path / "limit").write_text("250")
    cramped, told = trained(live, file)
    live.palate("pull", cramped["fine_tuned_model"], str(tmp_path / "cramped"))
    assert (plain["status"], nothing) == ("succeeded", [])
    assert cramped["status"] == "succeeded", cramped["error"]
    assert 1 <= len(told) <= 3
    assert all("tokens; the global batch stays 8." in each for each in told)
    assert cramped["palate"]["attempt"]["number"] == 1 + len(told)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "cramped"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-5
    live.palate("doctor", "--read")


@pytest.mark.slow
def test_rows_are_halved_three_times_and_no_more(live: Live, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("1")
    hopeless, told = trained(live, live.user.upload(triples(40)))
    assert (hopeless["status"], hopeless["error"]["code"], len(told)) == ("failed", "out_of_gpu_memory", 3)
    assert "max_length" in hopeless["error"]["message"]
    live.palate("doctor", "--read")
