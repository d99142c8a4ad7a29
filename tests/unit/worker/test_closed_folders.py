"""A worker's scratch and cache are its user's alone, also where they were there before."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import settings
from worker import workspace

NOBODY = 65_534


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    made = (tmp_path / "scratch", tmp_path / "cache")
    for name, folder in zip(("PALATE_SCRATCH", "PALATE_CACHE"), made, strict=True):
        monkeypatch.setenv(name, str(folder))
    settings.worker.cache_clear()
    before = os.umask(0o022)
    yield made
    os.umask(before)
    settings.worker.cache_clear()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_they_are_closed_and_what_is_written_below_too(folders: tuple[Path, Path]) -> None:
    scratch, cache = folders
    scratch.mkdir()
    scratch.chmod(0o755)
    workspace.close_to_others()
    (cache / "models").mkdir()
    (cache / "models" / "m").write_text("weights")
    assert (mode(scratch), mode(cache), mode(cache / "models"), mode(cache / "models" / "m")) == (
        *(0o700, 0o700, 0o700),
        0o600,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_one_of_another_user_is_told(folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    """As a volume is that a container was given."""
    folders[0].mkdir()
    folders[0].chmod(0o755)
    os.chown(folders[0], NOBODY, NOBODY)
    with caplog.at_level(logging.WARNING):
        workspace.close_to_others()
    assert f"{folders[0]} belongs to another user" in caplog.text
    assert mode(folders[0]) == 0o755
    (folders[0] / "written").touch()
    assert mode(folders[0] / "written") == 0o600
