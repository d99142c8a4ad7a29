"""Which devices a node has: the driver's tool is real wherever it answers, here one that is put in its place."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import warm
from tests.conftest import forget
from tests.support.driver import FOUR, put_driver
from worker import devices, launcher
from worker.devices import Unfit

Driver = Callable[[str], None]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PALATE_SLOTS", "0")
    forget()
    devices.gpus.cache_clear()

    def put(script: str) -> None:
        monkeypatch.setenv("PATH", f"{put_driver(tmp_path, script)}{os.pathsep}{os.environ['PATH']}")

    yield put
    devices.gpus.cache_clear()
    forget()


def uuids() -> list[str]:
    return [gpu.uuid for gpu in devices.gpus()]


def test_all_gpus_by_their_uuids(driver: Driver) -> None:
    driver(FOUR)
    assert devices.names() == ["GPU-a0", "GPU-a1", "GPU-b2", "GPU-b3"]
    assert (devices.gpus()[3].name, devices.gpus()[3].memory) == ("NVIDIA H100", 81_559 << 20)


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("2,0", ["GPU-b2", "GPU-a0"]),
        ("GPU-a1", ["GPU-a1"]),
        (" GPU-b3 , 1 ", ["GPU-b3", "GPU-a1"]),
        ("", []),
        ("-1", []),
    ],
)
def test_those_that_are_shown_to_us_in_their_order(
    named: str, shown: list[str], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(FOUR)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert uuids() == shown


@pytest.mark.parametrize("named", ["4", "GPU-c", "0,GPU-a0", "GPU-", "MIG-12", "0,0", "none"])
def test_a_name_that_is_not_one_gpu_is_refused(named: str, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(FOUR)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    with pytest.raises(Unfit, match=r"is not one GPU of this node, named once: it has 0 \(GPU-a0\), 1 \(GPU-a1\), "):
        devices.gpus()


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "true"])
def test_a_driver_without_a_gpu(script: str, driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver(script)
    monkeypatch.setenv("PALATE_SLOTS", "3")
    forget()
    assert devices.names() == ["cpu0", "cpu1", "cpu2"]
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    (tmp_path / "nvidia0").touch()
    devices.gpus.cache_clear()
    with pytest.raises(SystemExit, match=r"nvidia-smi names none. Put the driver in order"):
        devices.require()


def test_more_slots_than_gpus_are_refused(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(FOUR)
    monkeypatch.setenv("PALATE_SLOTS", "3")
    forget()
    assert devices.names() == ["GPU-a0", "GPU-a1", "GPU-b2"]
    monkeypatch.setenv("PALATE_SLOTS", "5")
    forget()
    with pytest.raises(SystemExit, match=r"PALATE_SLOTS is 5, and this node shows 4 GPUs .* Leave it out"):
        devices.require()


def test_a_run_sees_the_devices_of_its_seat_alone(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(FOUR)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    one, other = (launcher.environment(tmp_path, each) for each in (["GPU-a0", "GPU-a1"], ["GPU-b2"]))
    assert (one["CUDA_VISIBLE_DEVICES"], other["CUDA_VISIBLE_DEVICES"]) == ("GPU-a0,GPU-a1", "GPU-b2")
    assert warm.name(one) == warm.name(other) == warm.name(launcher.environment(tmp_path)), "one warm trainer for all"


def test_a_run_on_cpus_sees_what_its_worker_sees(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "CUDA_VISIBLE_DEVICES" not in launcher.environment(tmp_path, ["cpu0"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launcher.environment(tmp_path, ["cpu0"])["CUDA_VISIBLE_DEVICES"] == ""


def test_an_operators_settings_of_cuda_and_its_compilers_go_through_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "TRITON_PTXAS_PATH": "/opt/ptxas",
        "CC": "gcc-13",
        "CPATH": "/opt/python",
        "TORCH_NCCL_BLOCKING_WAIT": "1",
    }
    for name, value in {**settings, "PALATE_DATABASE_URL": "postgresql://secret", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    told = launcher.environment(tmp_path)
    assert settings.items() <= told.items()
    assert not any("SECRET" in name or "DATABASE" in name for name in told)
    assert told["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "backend:native")
    assert launcher.environment(tmp_path)["PYTORCH_ALLOC_CONF"] == "backend:native"
