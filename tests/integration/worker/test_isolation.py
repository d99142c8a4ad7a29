"""A trainer that was taken over, by code that was planted in its place, reaches its own job and nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core import landlock
from tests import taken_over
from tests.conftest import forget
from worker import child, isolation

needs_landlock = pytest.mark.skipif(landlock.abi() < isolation.FULL_ABI, reason="this kernel's Landlock lacks scopes")


@contextmanager
def ports(environment: dict[str, str]) -> Iterator[dict[str, int]]:
    """Of the real parts, and of a server that has nothing to do with us."""
    urls = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL", "store": "S3_ENDPOINT_URL"}
    real = {name: urlsplit(environment[variable]).port or 0 for name, variable in urls.items()}
    assert all(real.values())
    with taken_over.listening("foreign") as others:
        yield real | others


@pytest.fixture
def others(environment: dict[str, str], tmp_path: Path) -> Iterator[dict[str, int]]:
    for folder in (tmp_path, *tmp_path.parents):  # uid 65534 has to get there
        if folder.stat().st_uid == os.getuid() and folder.name.startswith(("test", "pytest", "popen")):
            folder.chmod(folder.stat().st_mode | 0o011)
    with ports(environment) as found:
        yield found


@needs_landlock
@pytest.mark.parametrize("user", list(taken_over.users()))
def test_it_reaches_its_job_and_nothing_else(user: str, others: dict[str, int], tmp_path: Path) -> None:
    """The same without isolation gets all of it: what is refused here is refused by nothing else."""
    uid = taken_over.users()[user]
    try:
        found = {mode: taken_over.run(tmp_path / mode, mode, uid, others) for mode in taken_over.MODES}
    except taken_over.NoPython as error:
        pytest.skip(str(error))
    allowed = {name for name in found["auto"] if name.startswith("(")}
    got = {name for name, answer in found["auto"].items() if answer == "got"}
    assert got - allowed == set()
    needed = {name for name in allowed if name.startswith("(needed)")}
    assert needed - got == set(), found["auto"]
    assert {name for name, answer in found["off"].items() if answer != "got"} == set()
    assert len(found["auto"]) - len(allowed) >= 25


@needs_landlock
def test_a_tasks_child_reads_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, other, folder = tmp_path / "given", tmp_path / "other", tmp_path / "task"
    folder.mkdir()
    for path in (given, other):
        path.write_text("x")
    reads = ("-n", "1", "-r", "1", "-s", "import sys")

    def look(path: Path) -> None:
        code = f"open({str(path)!r}).read()"
        child.run(folder, "timeit", *reads, code, wall_seconds=30, alive=lambda: None, read=[given])

    look(given)
    with pytest.raises(child.ChildFailed, match="PermissionError"):
        look(other)
    monkeypatch.setenv("PALATE_ISOLATION", "off")
    forget()
    look(other)
    monkeypatch.undo()
    forget()


def test_a_worker_that_is_to_isolate_and_cannot_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_ISOLATION", "require")
    forget()
    for abi in (0, 5):
        monkeypatch.setattr(landlock, "abi", lambda abi=abi: abi)
        with pytest.raises(SystemExit, match=rf"ABI {abi}, 6 is wanted.*signals and abstract sockets.*auto"):
            isolation.require()
    monkeypatch.setattr(landlock, "abi", lambda: isolation.FULL_ABI)
    isolation.require()
    for mode in ("auto", "off"):
        monkeypatch.setenv("PALATE_ISOLATION", mode)
        monkeypatch.setattr(landlock, "abi", lambda: 0)
        forget()
        isolation.require()
        assert isolation.told() == {"abi": 0, "holds": [], "lacks": [name for _, name, _, _ in isolation.HOLDS]}
    monkeypatch.undo()
    forget()


def test_an_older_kernel_is_asked_for_what_it_knows() -> None:
    """A right that it does not know would be refused with the whole set."""
    seen = [landlock.handled(abi) for abi in range(1, 8)]
    assert [bool(files & landlock.REFER) for files, _, _ in seen] == [False, *[True] * 6]
    assert [bool(files & landlock.TRUNCATE) for files, _, _ in seen] == [*[False] * 2, *[True] * 5]
    assert [bool(files & landlock.IOCTL) for files, _, _ in seen] == [*[False] * 4, *[True] * 3]
    assert [bool(net) for _, net, _ in seen] == [*[False] * 3, *[True] * 4]
    assert [bool(scoped) for _, _, scoped in seen] == [*[False] * 5, *[True] * 2]
