"""What a trainer leaves in its workspace leads nowhere else: names, links, pipes, and files of processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from core import beneath, processes
from core.contract import manifest as manifests
from core.contract.manifest import FileEntry, Manifest, ManifestMismatch
from core.contract.trainer_events import Warned, parse_event
from worker.follower import Follower
from worker.ranklogs import RankLogs
from worker.workspace import Workspace

SECRET = "the store's key"
LEADING_OUT = [
    "/etc/passwd",
    "../secret",
    "a/../../secret",
    "a//b",
    "",
    ".",
    "./a",
    "a/",
    "a\\b",
    "a\nb",
    "a\0b",
    "\ud800",
]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    (path / "logs").mkdir(parents=True)
    (path / "ranks").mkdir()
    return path


def entry(path: str) -> FileEntry:
    return FileEntry(path=path, bytes=len(SECRET), sha256="0" * 64)


@pytest.mark.parametrize("path", [*LEADING_OUT, "a" * 1_025])
def test_no_manifest_and_no_event_names_what_lies_elsewhere(path: str) -> None:
    with pytest.raises(ValidationError):
        entry(path)
    with pytest.raises(ValidationError):
        parse_event.validate_python({"event": "checkpoint_sealed", "time": 0, "step": 1, "path": path, "final": True})


def test_names_as_they_are_found_in_models_are_good() -> None:
    for path in ("model.safetensors", "adapter/adapter_model.safetensors", "état/..a..b", "model-00001-of-00002.bin"):
        assert entry(path).path == path
    with pytest.raises(ValidationError, match="twice"):
        Manifest(files=[entry("a"), entry("a")])


@pytest.mark.parametrize("planted", ["link", "folder", "pipe", "socket"])
def test_what_is_no_plain_file_of_the_folder_is_not_opened(space: Path, secret: Path, planted: str) -> None:
    """A link to a file, a link in place of a folder on the way, and what would keep the reader waiting."""
    name = "model"
    if planted == "link":
        (space / name).symlink_to(secret)
    elif planted == "folder":
        name = f"part/{secret.name}"
        (space / "part").symlink_to(secret.parent)
    else:
        os.mknod(space / name, 0o600 | (0o010000 if planted == "pipe" else 0o140000))
    with pytest.raises(beneath.NotBeneath):
        beneath.open_file(space, name)
    with pytest.raises(ManifestMismatch):
        manifests.verify(space, Manifest(files=[entry(name)]))


def test_a_manifest_behind_a_link_or_without_an_end_is_not_read(space: Path, secret: Path) -> None:
    (space / manifests.NAME).symlink_to(secret)
    with pytest.raises(ManifestMismatch):
        manifests.read(space)
    (space / manifests.NAME).unlink()
    with (space / manifests.NAME).open("wb") as stream:
        stream.truncate(manifests.LIMIT_BYTES + 1)
    with pytest.raises(ManifestMismatch, match="larger"):
        manifests.read(space)


def test_a_folder_behind_a_link_is_not_removed(space: Path, tmp_path: Path) -> None:
    """Nor what stands behind one on the way, nor what a link inside leads to."""
    kept = tmp_path / "of-another-job"
    (kept / "step-1").mkdir(parents=True)
    (space / "step-1").symlink_to(kept)
    (space / "resume").symlink_to(kept)
    (space / "own").mkdir()
    (space / "own" / "in").symlink_to(kept)
    for name in ("step-1", "resume/step-1", "own"):
        beneath.remove(space, name)
    assert (kept / "step-1").is_dir()
    assert not (space / "own").exists()


def test_what_is_written_for_the_trainer_goes_through_no_link(space: Path, secret: Path) -> None:
    (space / "stored.tmp").symlink_to(secret)
    beneath.partial(space / "stored", "4").rename(space / "stored")
    assert (secret.read_text(), (space / "stored").read_text()) == (SECRET, "4")


def test_events_and_logs_are_those_of_the_workspace(space: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (space / "events.jsonl").symlink_to(secret)
    with pytest.raises(beneath.NotBeneath):
        Follower(space / "events.jsonl").read()
    (space / "logs" / "rank-0.log").symlink_to(secret)
    monkeypatch.setattr(RankLogs, "__init__", lambda self: None)
    printed = RankLogs()  # type: ignore[call-arg]
    printed._space, printed._seen = Workspace(space), {}
    assert printed._tail(0) is None


def test_no_process_is_ended_because_a_trainer_signed_for_it(space: Path, tmp_path: Path) -> None:
    """Only who is at work in the workspace: not this process, nor another job's rank."""
    sleeping = [sys.executable, "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(sleeping, cwd=tmp_path, **pipes) as other,  # type: ignore[call-overload]
        subprocess.Popen(sleeping, cwd=space, **pipes) as own,  # type: ignore[call-overload]
    ):
        for process in (other, own):
            process.stdout.readline()
        for number, pid in enumerate((other.pid, own.pid, os.getpid())):
            processes.of(pid).sign(space / "ranks" / f"{number}.json")
        processes.of(other.pid).sign(Workspace(space).launcher)
        found = Workspace(space).processes()
        assert [process.pid for process in found] == [own.pid]
        assert processes.kill_all(found)
        assert other.poll() is None
        for process in (other, own):
            process.communicate()


def test_numbers_and_texts_that_no_row_holds_do_not_come_through(space: Path) -> None:
    step = {"event": "evaluated", "time": 0, "step": 1, "metrics": {}} | {"event": "eval"}
    told = [
        {**step, "step": 1 << 31},
        {**step, "step": -1},
        {**step, "metrics": {str(number): 1.0 for number in range(300)}},
        {"event": "failed", "time": 0, "code": "c" * 300, "message": ""},
        {"event": "warning", "time": 0, "code": "long", "message": "m" * 100_000},
    ]
    (space / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told))
    found = Follower(space / "events.jsonl").read()
    assert [each.code for each in found if isinstance(each, Warned)] == [*["event_unreadable"] * 4, "long"]
    assert all(len(each.message) <= 40_000 for each in found if isinstance(each, Warned))
