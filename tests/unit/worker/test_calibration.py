"""A node is calibrated once, by the real measurement; what fails there costs the forecast and nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import settings, warm
from tests.unit.planning.known import CALIBRATION
from worker import calibration, node_facts


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PALATE_SCRATCH", str(tmp_path))
    settings.worker.cache_clear()
    calibration._known.clear()
    yield tmp_path
    calibration._known.clear()
    settings.worker.cache_clear()


def test_it_is_measured_by_the_trainer_kept_on_the_disk_and_told(scratch: Path) -> None:
    assert "calibration" not in node_facts.told()
    calibration.take()
    found = calibration.known()
    assert found is not None
    assert node_facts.told()["calibration"] == found.model_dump()
    (kept,) = (scratch / "calibration").iterdir()
    kept.write_text(CALIBRATION.model_dump_json())
    calibration.take()
    assert calibration.known() == CALIBRATION, "not measured again"


def test_another_code_measures_anew(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure", lambda: CALIBRATION)
    calibration.take()
    monkeypatch.setattr(warm, "code", lambda: "f" * 64)
    calibration.take()
    assert len(list((scratch / "calibration").iterdir())) == 2


@pytest.mark.parametrize("damage", ["", "{}", '{"costs": {}}', "\x00"])
def test_what_is_damaged_on_the_disk_is_measured_anew(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = scratch / "calibration" / f"{warm.code()[:16]}.json"
    path.parent.mkdir()
    path.write_text(damage)
    monkeypatch.setattr(calibration, "measure", lambda: CALIBRATION)
    calibration.take()
    assert calibration.known() == CALIBRATION
    assert calibration.kept(path) == CALIBRATION


def test_a_trainer_that_fails_or_hangs_is_a_warning(
    scratch: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch / "python").write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    (scratch / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(scratch / "python"))
    calibration.take()
    assert "exit 3: no room" in caplog.text
    (scratch / "python").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(calibration, "MOST_SECONDS", 0.2)
    calibration.take()
    assert "timed out" in caplog.text
    assert calibration.known() is None
    assert "calibration" not in node_facts.told()


def test_a_trainer_of_ones_own_is_not_measured(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    monkeypatch.setenv("PALATE_TRAINER_COMMAND", "true")
    settings.worker.cache_clear()
    calibration.begin()
    assert not (scratch / "calibration").exists()
