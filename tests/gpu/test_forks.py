"""What a fork of the warm trainer inherits on a node of GPUs; the node is of fakes, which say what they cannot show."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from core import warm
from tests.gpu import fakes, parents
from tests.gpu.parents import Parent
from trainer import warm as trainer

WHOLE = {"nvml": 2, "cuInit": 0, "deepspeed": "cuda"}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.libraries(tmp_path_factory.mktemp("libraries"))


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    return tmp_path / "dev"


@contextmanager
def parent(libraries: Path, devices: Path, deed: str, **more: str) -> Iterator[Parent]:
    devices.mkdir()
    known = {**fakes.environment(libraries, devices), **more}
    with parents.serving(devices.parent / "warm", known, "-m", "tests.gpu.fakes.parent", deed) as found:
        yield found


def in_a_fork(given: Parent, devices: Path) -> object:
    """What NVML and the driver answer a rank, which the warm trainer forks whatever it thinks of itself."""
    (devices / "forced").touch()
    (devices.parent / "run.json").touch()
    code, printed = given.run(devices.parent / "run.json", {"PALATE_FAKE_DEVICES": str(devices)})
    assert code == 0, printed
    return parents.told(printed)


def asked(devices: Path, pid: object) -> list[str]:
    """Of torch.cuda and of NVML, by this process."""
    lines = [line.split() for line in (devices / "asked").read_text().splitlines()]
    return [name for number, name in lines if number == str(pid)]


def test_what_it_imports_asks_no_gpu_anything_and_its_forks_have_all_of_them(libraries: Path, devices: Path) -> None:
    """Although the driver's library is in it: loaded is not initialized."""
    with parent(libraries, devices, "the driver is loaded") as found:
        status = found.status()
        assert (status["threads"], status["cuda_initialized"], status["open"]) == (1, False, [])
        assert asked(devices, status["pid"]) == []
        assert in_a_fork(found, devices) == WHOLE
        assert found.status() == status


def test_one_that_has_opened_nvml_is_refused(libraries: Path, devices: Path) -> None:
    """As DeepSpeed opens it where it is left to find out what it runs on: a fork closes what NVML believes to have."""
    with parent(libraries, devices, "deepspeed finds out") as found:
        with pytest.raises(warm.Refused, match=f"it has {devices}/nvidiactl open, as NVML leaves them"):
            found.status()
        assert in_a_fork(found, devices) == {**WHOLE, "nvml": -1}
        counted = asked(devices, found.status()["pid"])
        assert {"torch.cuda.device_count", "nvmlInit", "nvmlDeviceGetCount"} <= set(counted)
        assert "nvmlShutdown" not in counted


def test_one_in_which_somebody_called_cuinit_is_refused(libraries: Path, devices: Path) -> None:
    """Round torch, which does not hear of it: asked with the driver's own question."""
    with parent(libraries, devices, "the driver is initialized") as found:
        with pytest.raises(warm.Refused, match=r"CUDA is initialized in it \(cuInit\)"):
            found.status()
        assert in_a_fork(found, devices) == {**WHOLE, "cuInit": 3}


@pytest.mark.parametrize(
    ("built", "there", "shown", "expected"),
    [
        (True, True, None, "cuda"),
        (True, True, "GPU-1,GPU-2", "cuda"),
        (True, True, "", "cpu"),
        (True, True, " -1", "cpu"),
        (True, False, None, "cpu"),
        (False, True, None, "cpu"),
    ],
)
def test_deepspeed_is_told_what_it_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: bool, there: bool, shown: str | None, expected: str
) -> None:
    """A GPU only where torch is built for one, the node has one and one is shown."""
    for name in ("nvidiactl", *(["nvidia0"] if there else [])):
        (tmp_path / name).touch()
    monkeypatch.setattr(trainer, "DEVICES", tmp_path)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert trainer.accelerator() == expected
