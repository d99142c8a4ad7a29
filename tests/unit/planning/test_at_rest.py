"""A source whose files change while a model is added."""

import os
from pathlib import Path

import pytest

from core.contract.errors import BadModel
from planning import model_folder
from planning.at_rest import at_rest
from tests.support.spoiled import CONFIG, INDEX, SINGLE, TOKENIZER, Spoil


def replaced(folder: Path) -> None:
    """By a file of the same bytes, size and time under the same name."""
    path, seen = folder / CONFIG, (folder / CONFIG).stat()
    (folder / "other").write_bytes(path.read_bytes())
    (folder / "other").rename(path)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def overwritten(folder: Path) -> None:
    content = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(content[:-4] + b"\0\0\xc0\x7f")


CHANGES: dict[str, tuple[str, Spoil]] = {
    "overwritten": (SINGLE, overwritten),
    "longer": (TOKENIZER, lambda f: (f / TOKENIZER).write_text((f / TOKENIZER).read_text() + " ")),
    "replaced": (CONFIG, replaced),
    "removed": (SINGLE, lambda f: (f / SINGLE).unlink()),
    "added": (INDEX, lambda f: (f / INDEX).write_text("{}")),
}


@pytest.mark.parametrize(("name", "spoil"), CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("staged", [False, True])
def test_what_changes_after_it_was_looked_at_is_told(
    folder: Path, tmp_path: Path, name: str, spoil: Spoil, staged: bool
) -> None:
    links = tmp_path / "staged"
    links.mkdir()
    model_folder.stage(folder, links)
    # What is added to the folder later is not staged.
    with pytest.raises(BadModel) as refusal, at_rest(links if staged and name != INDEX else folder):
        spoil(folder)
    assert refusal.value.code == "changed_meanwhile"
    assert refusal.value.message.startswith(f"{folder / name} changed while it was being added: add it again.")


def test_a_failure_that_comes_of_a_change_is_told_as_one(folder: Path) -> None:
    with pytest.raises(BadModel, match="add it again"), at_rest(folder):
        model_folder.check(folder.rename(folder.parent / "elsewhere") / "gone")
    with pytest.raises(BadModel, match="is not a folder"), at_rest(folder):
        model_folder.check(folder)


def test_a_file_is_watched_as_a_folder_is_and_what_is_not_stored_is_not(folder: Path) -> None:
    with at_rest(folder, folder / SINGLE):
        (folder / "train.log").write_text("x")
        (folder / ".hidden.json").write_text("x")
        (folder / "inner").mkdir()
    with pytest.raises(BadModel, match=SINGLE), at_rest(folder / SINGLE):
        overwritten(folder)
