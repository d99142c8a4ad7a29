"""One warm trainer for one code in one environment; what is said at its socket."""

import socket
from pathlib import Path

import pytest

from core import warm

KNOWN = {"OMP_NUM_THREADS": "1", "HOME": "/a", "TMPDIR": "/a"}


def test_its_name_is_that_of_its_environment_but_for_what_is_of_one_job() -> None:
    name = warm.name(KNOWN)
    assert warm.name({**KNOWN, "HOME": "/b", "TMPDIR": "/b", "PALATE_SUPERVISOR": "1:2"}) == name
    assert warm.name({**KNOWN, "CUDA_VISIBLE_DEVICES": "GPU-1"}) == name, "or each set of devices had its own"
    assert warm.name({**KNOWN, "OMP_NUM_THREADS": "2"}) != name


def test_other_code_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trainer").mkdir()
    source = tmp_path / "trainer" / "losses.py"
    source.write_text("a = 1")
    monkeypatch.setattr(warm, "ROOT", tmp_path)
    before = warm.code()
    assert warm.code() == before
    source.write_text("a = 12")
    assert warm.code() != before


def test_a_long_path_is_reached_and_the_kernel_names_the_other_end(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100) / "socket"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        with warm.short(path) as address:
            listener.bind(address)
        with pytest.raises(warm.Refused, match="does not listen"):
            warm.connect(path, 1)
        listener.listen()
        with warm.connect(path, 1) as asker:
            answerer, _ = listener.accept()
            with answerer:
                warm.say(asker, {"status": True})
                assert warm.hear(answerer) == {"status": True}
                warm.say(answerer, {"refused": "busy"})
                with pytest.raises(warm.Refused, match="busy"):
                    warm.hear(asker)
            with pytest.raises(warm.Refused, match="without a word"):
                warm.hear(asker)
