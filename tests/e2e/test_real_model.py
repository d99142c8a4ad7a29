"""A real language model of 30 layers, from the folder that a user adds to the model that `palate pull` brings."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.live import Live, User, triples
from tests.support.real_model import real_model

NAME = "smollm2"
SECONDS = 600.0
# PEFT asks for a name that transformers has given up.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def smollm2(live: Live) -> Path:
    """Its folder; the service knows it by NAME."""
    folder = real_model()
    live.palate("models", "add", NAME, str(folder))
    return folder


def trained(live: Live, user: User, folder: Path, ranks: int, **settings: Any) -> dict[str, Any]:
    """The job of two steps, pulled into `folder`."""
    export = ["adapter", "model"] if "lora" in settings else ["model"]
    file = user.upload(triples(12, seed=11))
    user.judged(file)
    common = {"batch_size": 4, "max_steps": 2, **settings}
    job_id = user.create(NAME, file, ranks, palate={"export": export}, **common)
    job = user.succeeded(job_id, SECONDS)
    assert job["palate"]["attempt"]["number"] == 1
    live.palate("pull", job["fine_tuned_model"], str(folder))
    return job


def loads(base: Path, folder: Path, precision: str, lora: bool) -> None:
    """By plain transformers, and by PEFT on the base model; both have moved, to the same place, and write English."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    model, told = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(told.values()), told
    with torch.no_grad():
        found = model(**asked).logits
        said = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(said)
    del model
    before = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        assert 1e-5 < (before(**asked).logits - found).abs().max() < 5
        if lora:
            adapted = PeftModel.from_pretrained(before, str(folder / "adapter"))
            # Every weight of a bf16 export is rounded.
            assert (adapted(**asked).logits - found).abs().max() < (1e-2 if precision == "fp32" else 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("ranks")
@pytest.mark.parametrize(("precision", "lora", "ranks_"), list(product(("fp32", "bf16"), (False, True), (1, 2))))
def test_a_real_model(
    live: Live, user: User, smollm2: Path, tmp_path: Path, precision: str, lora: bool, ranks_: int
) -> None:
    more = {"lora": {"r": 8}} if lora else {}
    trained(live, user, tmp_path, ranks_, precision=precision, **more)
    loads(smollm2, tmp_path, precision, lora)
