"""The real trainer on a disk that spoils its finished model: the job fails once, and its model can be fetched."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.live import Live, triples
from tests.launch import alone
from tests.models import make_tiny_model
from worker.launcher import COLD

pytestmark = pytest.mark.xdist_group("ranks")
SETTINGS = {"batch_size": 8, "n_epochs": 2, "max_steps": 3, "learning_rate": 1e-4}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_refused_model_is_kept_and_costs_no_second_training(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    live = Live(tmp_path / "home", PALATE_TRAINER_COMMAND=f"{COLD} -- {ROOT}/tests/refusing_trainer.py")
    with alone():
        live.start()
        try:
            live.palate("models", "add", "tiny", str(make_tiny_model(tmp_path / "model")))
            file = live.user.upload(triples(80))
            live.user.judged(file)
            job = live.user.create("tiny", file, 2, **SETTINGS)
            ended = live.user.ended(job)
            assert (ended["status"], ended["fine_tuned_model"]) == ("failed", None)
            assert ended["error"]["code"] == "export_mismatch"
            assert ended["palate"]["attempt"]["number"] == 1
            (listed,) = live.user.http.get(f"/fine_tuning/jobs/{job}/checkpoints").json()["data"]
            assert (listed["step_number"], listed["metrics"]["palate/verified"]) == (3, 0)
            model = listed["fine_tuned_model_checkpoint"]
            (told,) = [message for message in live.user.messages(job) if "is kept as" in message]
            assert "does not have the bytes that were written" in told
            assert f"`palate pull {model} DIR` fetches it" in told
            live.palate("pull", model, str(tmp_path / "pulled"))
            AutoModelForCausalLM.from_pretrained(tmp_path / "pulled")
            live.palate("doctor", "--read")
        finally:
            live.stop()
