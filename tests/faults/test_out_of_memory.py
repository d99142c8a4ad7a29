"""A GPU too small for the rows: they are halved, the batch is not, and the weights are the undisturbed run's."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.e2e.live import Live, triples
from tests.launch import alone
from tests.models import make_tiny_model

pytestmark = pytest.mark.xdist_group("ranks")
SETTINGS = {"batch_size": 8, "n_epochs": 2, "learning_rate": 1e-4}


def test_rows_are_halved_until_they_fit(tmp_path: Path) -> None:
    limit = tmp_path / "limit"
    command = f"{{python}} {ROOT}/tests/cramped_trainer.py {limit} --spec {{spec}}"
    live = Live(tmp_path / "home", PALATE_TRAINER_COMMAND=command, PALATE_RESUME_STEPS="2")
    with alone():
        live.start()
        try:
            live.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
            file = live.user.upload(triples(40))
            live.user.judged(file)
            found = []
            for tokens in (None, 250, 1):
                if tokens is not None:
                    limit.write_text(str(tokens))
                job = live.user.ended(live.user.create("tiny", file, **SETTINGS))
                found.append((job, [each for each in live.user.messages(job["id"]) if "halved" in each]))
                if job["status"] == "succeeded":
                    live.palate("pull", job["fine_tuned_model"], str(tmp_path / str(tokens)))
        finally:
            live.stop()
    (plain, nothing), (cramped, told), (hopeless, thrice) = found
    assert (plain["status"], nothing) == ("succeeded", [])
    assert cramped["status"] == "succeeded", cramped["error"]
    assert 1 <= len(told) <= 3
    assert all("tokens; the global batch stays 8." in each for each in told)
    assert cramped["palate"]["attempt"]["number"] == 1 + len(told)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("None", "250"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-5
    assert (hopeless["status"], hopeless["error"]["code"], len(thrice)) == ("failed", "out_of_gpu_memory", 3)
    assert "max_length" in hopeless["error"]["message"]
