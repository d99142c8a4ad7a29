"""Secrets by file: then they stand in no environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.settings import Parts


def test_a_secret_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://another")
    for name in ("database_url", "redis_url"):
        (tmp_path / name).write_text(f"{name}://of the file\n")
        monkeypatch.setenv(f"{name}_file".upper(), str(tmp_path / name))
    found = Parts()
    assert found.database_url.get_secret_value() == "database_url://of the file"
    assert found.redis_url.get_secret_value() == "redis_url://of the file"


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(ValidationError, match="DATABASE_URL_FILE cannot be read"):
        Parts()
