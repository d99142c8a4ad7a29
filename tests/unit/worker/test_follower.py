"""Reading events while they are written."""

from pathlib import Path

from core.contract.trainer_events import Stopped, Warned
from worker.follower import READ_BYTES, Follower

STOPPED = '{"v": 1, "event": "stopped", "time": 1.0, "step": 3, "reason": "cancel", "from_the_future": true}\n'


def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    follower = Follower(path)
    assert follower.read() == []
    path.write_text(STOPPED[:20])
    assert follower.read() == []
    path.write_text(STOPPED + STOPPED[:5])
    assert follower.read() == [Stopped(time=1.0, step=3, reason="cancel")]
    assert follower.read() == []


def test_a_bad_line_is_one_warning_and_an_unknown_kind_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "stop\n{"event": "of_tomorrow"}\n{"event": "stopped"}\n' + STOPPED)
    torn, bad, good = Follower(path).read()
    assert isinstance(torn, Warned)
    assert isinstance(bad, Warned)
    assert isinstance(good, Stopped)


def test_what_postgres_keeps_in_no_text_is_replaced(tmp_path: Path) -> None:
    """A model of bytes, trained for seconds, writes any of them."""
    path = tmp_path / "events.jsonl"
    warned = Warned(time=1.0, code="x", message="a\0b", data={"text": "\0"})
    path.write_text(warned.model_dump_json() + "\n")
    (read,) = Follower(path).read()
    assert isinstance(read, Warned)
    assert (read.message, read.data) == ("a\ufffdb", {"text": "\ufffd"})


def test_long_output_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(STOPPED * 20_000)
    follower = Follower(path)
    first = len(follower.read())
    assert 0 < first < 20_000
    assert first + len(list(follower.rest())) == 20_000
    assert list(follower.rest()) == []


def test_the_rest_is_all_of_it_whatever_stands_before_it(tmp_path: Path) -> None:
    """A megabyte of kinds that nobody knows, and a line that is longer than any event."""
    path = tmp_path / "events.jsonl"
    unknown = '{"event": "of_tomorrow"}\n'
    path.write_text(unknown * (2 * READ_BYTES // len(unknown)) + "x" * (3 * READ_BYTES) + "\n" + STOPPED)
    *bad, last = Follower(path).rest()
    assert bad
    assert all(isinstance(each, Warned) for each in bad)
    assert isinstance(last, Stopped)
