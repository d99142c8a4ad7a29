"""The node's cache: what comes is checked, what is used stays, and the least recently used goes first."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import settings
from worker import cache

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[[Path], None]
USER = """
import sys
from pathlib import Path
from worker import cache
cache.use(Path(sys.argv[1]))
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path))
    monkeypatch.setenv("PALATE_CACHE_BYTES", "250")
    settings.worker.cache_clear()
    yield tmp_path
    leave_all()
    settings.worker.cache_clear()


def leave_all() -> None:
    """As when the process ends."""
    for handle in cache._in_use.values():
        handle.close()
    cache._in_use.clear()


def holding(size: int) -> Make:
    def make(partial: Path) -> None:
        partial.write_bytes(b"x" * size)

    return make


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "references").iterdir() if path.suffix not in (cache.MAKE, cache.USE)}


def used_at(path: Path, seconds: float) -> None:
    os.utime(path.with_name(path.name + cache.USE), (seconds, seconds))


def test_the_least_recently_used_goes_first(folder: Path) -> None:
    for number, name in enumerate(("a", "b")):
        used_at(cache.entry("references", name, 100, holding(100)), number)
    used_at(cache.entry("references", "a", 100, holding(100)), 9)
    leave_all()
    cache.entry("references", "c", 100, holding(100))
    assert names(folder) == {"a", "c"}
    assert not (folder / "references" / "b.lock").exists(), "nothing is left of it"


def test_what_another_process_uses_stays(folder: Path) -> None:
    made = cache.entry("references", "old", 200, holding(200))
    leave_all()
    with subprocess.Popen(
        [sys.executable, "-c", USER, str(made)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        cache.entry("references", "new", 200, holding(200))
        assert names(folder) == {"old", "new"}, "over the limit rather than taken away"
    leave_all()
    cache.entry("references", "newest", 200, holding(200))
    assert names(folder) == {"newest"}, "its lock died with the process"


def test_what_failed_is_not_there_and_leaves_nothing(folder: Path) -> None:
    def fail(partial: Path) -> None:
        partial.mkdir()
        (partial / "half").touch()
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        cache.entry("references", "a", 1, fail)
    assert names(folder) == set()


def test_what_a_killed_process_left_half_made_is_cleared(folder: Path) -> None:
    (folder / "references").mkdir()
    (folder / "references" / "dead.part.123.part").write_bytes(b"x" * 300)
    cache.entry("references", "new", 100, holding(100))
    assert names(folder) == {"new"}


def test_many_at_once_make_it_once(folder: Path) -> None:
    made: list[str] = []

    def make(partial: Path) -> None:
        made.append(partial.name)
        partial.write_bytes(hashlib.sha256(b"x").digest())

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: cache.entry("references", "a", 32, make), range(8)))
    assert len(set(paths)) == 1
    assert made == ["a.part"]
