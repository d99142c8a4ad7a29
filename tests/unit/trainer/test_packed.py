"""What ranks tell each other of their records comes back as it was, and no pickle is on the way."""

import random

import pytest

from core.contract.errors import BadModel
from core.contract.run_spec import RowProblem
from trainer.data import Example, Tokenised, together
from trainer.failures import BadRecord, Diverged, OfAPeer, from_peer, judge, to_peer
from trainer.packed import pack, unpack
from trainer.render import Answer
from trainer.stop import StopRequested
from trainer.verify import ExportMismatch


def drawn(seed: int, numbers: range) -> Tokenised:
    """Of some records one example, of some two, of some none."""
    draw = random.Random(seed)
    found = Tokenised()
    for number in numbers:
        if draw.random() < 0.2:
            message = "Its prompt is “too long”.\nReally \x00"
            found.fallen[number] = RowProblem(line=number + 1, code="too_long", message=message)
            continue
        for again in range(draw.choice([1, 1, 2])):
            answers = tuple(
                Answer(tuple(draw.randrange(151_936) for _ in range(length)), ((2, length), (length, length + 1)))
                for length in (draw.randint(1, 40), draw.randint(1, 40))
            )
            about = (draw.random(), 1 / 3, 1e-300, draw.random() < 0.5, number, f"gruppe-ä{again}")
            found.examples.append(Example(f"r{number}:{again}", number + 1, 2, answers, *about))
        if draw.random() < 0.5:
            found.mismatched.append(Example(f"r{number}", number + 1, 2, answers[:1], number=number))
    found.kwargs = {"{}", '{"enable_thinking": false}'}
    found.ties = draw.randrange(9)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_share_comes_back_as_it_was(seed: int) -> None:
    found = drawn(seed, range(seed))
    back = unpack(pack(found))
    for name in ("examples", "mismatched", "fallen", "kwargs", "ties"):
        assert getattr(back, name) == getattr(found, name), name
    parts = [drawn(seed, range(7)), drawn(seed + 1, range(7, 9))]
    assert together([unpack(pack(part)) for part in parts]).examples == together(parts).examples


@pytest.mark.parametrize(
    "error",
    [
        BadRecord("x", code="too_long", line=3),
        Diverged("x", step=4),
        ExportMismatch("x"),
        BadModel("x", code="no_eos_token", param="model"),
        KeyError("unknown"),
        MemoryError(),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        OfAPeer(judge(Diverged("x", step=4))),
    ],
)
def test_failures_travel_between_ranks(error: Exception) -> None:
    told = from_peer(to_peer(error))
    assert isinstance(told, OfAPeer)
    assert judge(told) == judge(error)


def test_the_word_of_a_stop_travels_as_such() -> None:
    told = from_peer(to_peer(StopRequested("drain")))
    assert isinstance(told, StopRequested)
    assert told.word == "drain"


def test_an_id_is_one_object_wherever_it_occurs() -> None:
    """A rank holds every token of the data."""
    found = drawn(3, range(40))
    ids = [token for each in unpack(pack(found)).examples for answer in each.answers for token in answer.ids]
    assert len({id(token) for token in ids}) == len(set(ids)) < len(ids)
