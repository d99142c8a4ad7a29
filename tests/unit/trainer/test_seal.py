"""A folder of many ranks is sealed when all their parts are there, and not before."""

import threading
from pathlib import Path

import pytest

from core.contract import manifest
from trainer import seal
from trainer.failures import Infrastructure


def write(partial: Path, rank: int) -> None:
    path = partial / "state" / f"{rank}.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"of rank {rank}")
    seal.write_part(partial, rank, [path])


def test_it_waits_for_the_last_part(tmp_path: Path) -> None:
    final = tmp_path / "step-5"
    partial = seal.open_folder(final)
    write(partial, 0)
    sealing = threading.Thread(target=seal.when_whole, args=(partial, 2, {"step": 5}, lambda: False))
    sealing.start()
    sealing.join(0.1)
    assert sealing.is_alive()
    assert not final.exists()
    write(partial, 1)
    sealing.join(10)
    found = manifest.read(final)
    manifest.verify(final, found)
    assert [entry.path for entry in found.files] == ["state/0.pt", "state/1.pt"]
    assert found.meta == {"step": 5}
    assert sorted(path.name for path in final.iterdir()) == ["manifest.json", "state"]
    assert not partial.exists()


def test_a_part_that_never_comes_is_an_error(tmp_path: Path) -> None:
    partial = seal.open_folder(tmp_path / "step-5")
    write(partial, 0)
    with pytest.raises(Infrastructure, match=r"Rank 1 did not write its part of step-5\.tmp in 0 s"):
        seal.all_parts(partial, 2, lambda: False, patience=0.0)


def test_who_gave_up_seals_nothing(tmp_path: Path) -> None:
    partial = seal.open_folder(tmp_path / "step-5")
    assert seal.when_whole(partial, 1, {}, lambda: True) is False
    assert not (tmp_path / "step-5").exists()
