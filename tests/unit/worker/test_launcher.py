"""What the trainer is told, and what of its words is shown."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from core import settings
from core.contract import failpoints
from worker.launcher import environment
from worker.ranklogs import masked


@pytest.fixture(autouse=True)
def _settings_anew() -> Iterator[None]:
    settings.worker.cache_clear()
    yield
    settings.worker.cache_clear()


def test_the_trainer_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PALATE_LIFELINE", "REDIS_URL", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    passed = environment(tmp_path)
    assert "secret" not in passed.values()
    assert passed["CUDA_VISIBLE_DEVICES"] == "0"
    assert passed["HOME"] == str(tmp_path)


def test_it_is_told_of_failpoints_only_where_they_are_armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_FAILPOINTS", "/elsewhere")  # what counts is what this process started with
    assert "PALATE_FAILPOINTS" not in environment(tmp_path)
    monkeypatch.setattr(failpoints, "FOLDER", "/points")
    assert environment(tmp_path)["PALATE_FAILPOINTS"] == "/points"


def test_what_is_compiled_outlives_the_attempt(tmp_path: Path) -> None:
    one, other = environment(tmp_path / "a1"), environment(tmp_path / "a2")
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH"):
        assert one[name] == other[name]
        assert version("torch") in Path(one[name]).parts, "another torch compiles anew"
        assert not Path(one[name]).is_relative_to(tmp_path)
    assert one["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


def test_key_shaped_text_is_masked() -> None:
    assert masked("key plt_abc123_0123456789abcdef end") == "key plt_abc123_*** end"
