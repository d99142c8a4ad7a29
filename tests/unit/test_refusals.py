"""The many jobs of `make refusals`: which they are, and that their pairs have the lengths that were drawn."""

import statistics
from collections import Counter

import pytest

from benchmarks.arms.work import DATA
from core.contract.losses import LOSSES
from tests.models import make_tokenizer
from tests.refusals.jobs import FILES, Pairs, job


def test_jobs_are_decided_by_seed_and_number_and_cover_what_they_should() -> None:
    jobs = [job(number, 1, FILES, 2) for number in range(200)]
    assert jobs[120:140] == [job(number, 1, FILES, 2) for number in range(120, 140)]
    assert job(0, 2, FILES, 2) != jobs[0]
    assert set(Counter((each.precision, each.lora) for each in jobs).values()) == {50}
    assert {each.loss for each in jobs} == {name for name in LOSSES if LOSSES[name].unit != "list"}
    assert {each.file for each in jobs} == set(FILES)
    lengths = [length for each in jobs for pair in each.lengths for length in pair]
    assert min(lengths) == 1
    longest = [max(max(pair) for pair in each.lengths) for each in jobs]
    assert 800 < max(longest) <= 1_000
    assert 20 < statistics.median(longest) < 60, "even by their logarithm: half are below about 32"


@pytest.mark.skipif(not DATA.exists(), reason=f"needs the real pairs of {DATA.name}")
def test_answers_are_cut_or_go_on_to_their_length() -> None:
    tokenizer = make_tokenizer()
    pairs = Pairs("persona", tokenizer)
    drawn = job(7, 1, FILES, 4)
    found = pairs.drawn(drawn)
    assert found == Pairs("persona", tokenizer).drawn(drawn)
    for (good, bad), each in zip(drawn.lengths, found, strict=True):
        assert [pairs.count(said[-1]) for said in (each.chosen, each.rejected)] == pytest.approx((good, bad), abs=2)
        assert each.chosen != each.rejected
