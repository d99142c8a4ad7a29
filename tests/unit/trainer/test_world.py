"""A run that was planned for GPUs never goes on without them; and what of a GPU decides the bits is kept."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.contract.exits import Exit
from core.contract.run_spec import RunSpec, Settings
from trainer import world
from trainer.checkpoint import kind
from trainer.ds_config import ds_config
from trainer.engine import quiet_deepspeed
from trainer.failures import Infrastructure


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, so nothing is missing on it")
def test_a_rank_without_its_gpu_leaves_at_once(tmp_path: Path) -> None:
    """Before it looks at the model, the data or another rank."""
    spec = RunSpec(
        run_id="gone",
        workspace=tmp_path,
        model_dir=tmp_path / "nowhere",
        model_digest="",
        train_data=tmp_path / "nothing",
        train_digest="",
        device="cuda",
        settings=Settings(),
    )
    path = tmp_path / "run.json"
    path.write_text(spec.model_dump_json())
    run = subprocess.run([sys.executable, "-m", "trainer", "--spec", str(path)], timeout=60, check=False)
    assert run.returncode == Exit.INFRASTRUCTURE
    (told,) = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (told["event"], told["code"]) == ("failed", "gpu_unavailable")
    assert "planned for 1 GPUs" in told["message"]
    assert "finds 0 on the node" in told["message"]


def test_fewer_gpus_than_ranks_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(Infrastructure, match=r"planned for 4 GPUs, and torch .* finds 2"):
        world.require("cuda")


@pytest.mark.parametrize("device", ["cpu", None])
def test_nothing_is_asked_of_a_run_that_was_promised_no_gpu(device: str | None) -> None:
    world.require(device)


def test_another_gpu_or_way_to_sum_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faked: a device's name and library versions, as far as the CPU's torch has none."""
    from importlib import metadata

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 5))
    monkeypatch.setattr(metadata, "version", lambda name: "3.8.0")
    one = kind(torch.device("cuda", 0))
    assert one["device_name"] == "NVIDIA H200"
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    assert kind(torch.device("cuda", 0)) != one
    monkeypatch.delenv("NCCL_ALGO")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert kind(torch.device("cuda", 0)) != one
    assert kind(torch.device("cpu")) == {}


def test_deepspeed_builds_nothing_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for one of its ops tries all of them, compilers included; only a CPU has need of that one."""
    import deepspeed

    asked: dict[str, bool] = {}
    monkeypatch.setattr(deepspeed.ops, "__compatible_ops__", asked)
    for device, expected in (("cuda", {}), ("cpu", {"deepspeed_shm_comm": False})):
        here = SimpleNamespace(device_name=lambda device=device: device)
        monkeypatch.setattr(deepspeed.accelerator, "get_accelerator", lambda here=here: here)
        quiet_deepspeed()
        assert asked == expected


def test_an_adapters_matrices_stay_whole() -> None:
    """Llama-3-8B: A of the widest layer has 16 x 14,336 elements, more than ten hidden states."""
    lora = Settings.model_validate({"lora": {"r": 16, "alpha": 32.0}})
    config = ds_config(lora, 4_096, 14_336, cuda=True)["zero_optimization"]
    assert config["stage3_param_persistence_threshold"] == 16 * 14_336
    assert (
        ds_config(Settings(), 4_096, 14_336, cuda=True)["zero_optimization"]["stage3_param_persistence_threshold"]
        == 10 * 4_096
    )
