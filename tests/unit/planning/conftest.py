"""A model's folder to spoil."""

import shutil
from pathlib import Path

import pytest

from tests.models import make_tiny_model


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of a tiny Llama's."""
    return Path(shutil.copytree(original, tmp_path / "model"))
