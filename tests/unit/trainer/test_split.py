"""What is held out of a training file: whole prompts, decided by the seed and the prompts alone."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from core.contract.losses import LossName
from core.contract.preference import Message, Origin, PreferenceRecord
from tests.models import make_tokenizer
from trainer.data import Tokenised, make_renderer, together, tokenise
from trainer.groups import group_of
from trainer.split import apart, held_out


def said(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


def record(number: int, prompt: str, group: str | None = None) -> PreferenceRecord:
    return PreferenceRecord(
        id=f"p{number}",
        prompt=[Message(role="user", content=prompt)],
        chosen=said(f"the fox {number}"),
        rejected=said(f"a river {number}"),
        group=group,
        origin=Origin(line=number + 1, format="t"),
    )


# Each of 30 prompts three times.
RECORDS = [record(i, f"why number {i % 30}") for i in range(90)]


def tokenised(records: Sequence[PreferenceRecord], ranks: int = 1, loss: LossName = "sigmoid") -> Tokenised:
    renderer = make_renderer(make_tokenizer(), [1])
    parts = [tokenise(renderer, records, 256, "drop", loss, share=(rank, ranks)) for rank in range(ranks)]
    return together(parts)


def ids(part: Tokenised) -> list[str]:
    return [example.id for example in part.examples]


def test_whole_prompts_and_nothing_lost() -> None:
    train, held = apart(tokenised(RECORDS), seed=1, share=0.2)
    assert len(held.examples) == 18
    assert sorted(ids(train) + ids(held)) == sorted(each.id for each in RECORDS)
    assert not {e.group for e in train.examples} & {e.group for e in held.examples}
    for part in (train, held):
        assert all(a.number < b.number for a, b in pairwise(part.examples)), "in the order of the file"


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_same_on_any_count_of_ranks(ranks: int) -> None:
    whole, shared = apart(tokenised(RECORDS), 1, 0.2), apart(tokenised(RECORDS, ranks), 1, 0.2)
    assert [ids(part) for part in whole] == [ids(part) for part in shared]


def test_the_seed_decides_and_the_order_does_not() -> None:
    groups = [group_of(each) for each in RECORDS]
    shuffled = random.Random(0).sample(groups, len(groups))
    assert held_out(groups, 1, 0.2) == held_out(shuffled, 1, 0.2)
    assert held_out(groups, 1, 0.2) != held_out(groups, 2, 0.2)


def test_most_of_what_was_held_out_stays_so_when_the_file_grows() -> None:
    before = held_out([f"g{i}" for i in range(1000)], 1, 0.1)
    after = held_out([f"g{i}" for i in range(1100)], 1, 0.1)
    assert len(before & after) >= 85


def test_a_prompt_that_fills_the_file_is_trained_on() -> None:
    groups = ["big"] * 60 + [f"g{i}" for i in range(40)]
    for seed in range(20):
        chosen = held_out(groups, seed, 0.1)
        assert "big" not in chosen
        assert len(chosen) == 10


def test_where_every_prompt_is_too_large_the_smallest_is_held_out_but_never_half() -> None:
    assert held_out(["a"] * 50 + ["b"] * 30 + ["c"] * 20, 0, 0.05) == {"c"}
    assert held_out(["a"] * 50 + ["b"] * 50, 0, 0.05) == frozenset()
    assert held_out(["a"] * 50, 0, 0.05) == frozenset()
    assert held_out([], 0, 0.05) == held_out(["a", "b"], 0, 0.0) == frozenset()


def test_what_belongs_together() -> None:
    assert group_of(record(1, "Why  not?")) == group_of(record(2, "why\nNOT?"))
    assert group_of(record(1, "why")) != group_of(record(2, "who"))
    assert group_of(record(1, "why", "g")) == group_of(record(2, "who", "g"))
    assert group_of(record(1, "why", "user why")) != group_of(record(1, "why"))
    turns = [
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    ]
    assert group_of(record(1, "a").model_copy(update={"prompt": turns})) != group_of(record(1, "a"))


def test_kto_keeps_each_mismatched_answer_with_its_example() -> None:
    train, held = apart(tokenised(RECORDS, loss="kto"), seed=1, share=0.2)
    for part in (train, held):
        assert [e.id for e in part.examples] == [e.id for e in part.mismatched]
    assert len(held.mismatched) == 36
