"""Second names of files, where the file system knows them and where it does not."""

import errno
import os
from pathlib import Path

import pytest

from core.disk import link_all


@pytest.mark.parametrize("refused", [None, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_copy_outlives_its_first_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int | None) -> None:
    folder, copy = tmp_path / "step-4", tmp_path / "verify" / "step-4"
    (folder / "adapter").mkdir(parents=True)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        (folder / name).write_text(name)

    def link(*_: object) -> None:
        raise OSError(refused, "no links")

    if refused is not None:
        monkeypatch.setattr(os, "link", link)
    link_all(folder, copy)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        (folder / name).unlink()
        assert (copy / name).read_text() == name


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_text("weights")

    def link(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="full"):
        link_all(tmp_path, tmp_path.parent / "copy")
