"""From records of every kind to what each loss compares."""

from collections.abc import Sequence

import pytest

from core.contract.losses import LOSSES, LossName
from core.contract.preference import Message, Origin, PreferenceRecord, RankingRecord, UnpairedRecord
from tests.models import make_tokenizer
from trainer.data import make_renderer, partners, together, tokenise
from trainer.examples import comparisons

ORIGIN = Origin(line=3, format="t")


def said(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


def asked(text: str = "why") -> list[Message]:
    return [Message(role="user", content=text)]


def ranking(*ranks: int) -> RankingRecord:
    words = ["the fox", "a river", "cold rain", "silver key", "bright night"]
    completions = [said(words[i]) for i in range(len(ranks))]
    return RankingRecord(id="r", prompt=asked(), completions=completions, ranks=list(ranks), origin=ORIGIN)


def pair(**more: float) -> PreferenceRecord:
    return PreferenceRecord(
        id="p", prompt=asked(), chosen=said("the fox"), rejected=said("a river"), origin=ORIGIN, **more
    )


def single(number: int, label: bool = True) -> UnpairedRecord:
    text = ["the fox", "a river", "cold rain", "silver key"][number]
    return UnpairedRecord(id=f"s{number}", prompt=asked(), completion=said(text), label=label, origin=ORIGIN)


@pytest.mark.parametrize(
    ("loss", "ranks", "orders"),
    [
        ("sigmoid", (2, 1, 3), [(1, 0), (1, 2), (0, 2)]),
        ("sigmoid", (1, 1, 2), [(0, 2), (1, 2)]),
        ("sigmoid", (1, 1), []),
        ("s_dpo", (2, 1, 3), [(1, 0, 2)]),
        ("s_dpo", (1, 1, 2, 3), [(0, 2, 3), (1, 2, 3)]),
        ("s_dpo", (1, 2, 2), [(0, 1, 2)]),
        ("s_dpo", (4, 4), []),
        ("plackett_luce", (3, 1, 2), [(1, 2, 0)]),
        ("plackett_luce", (1, 1, 2), [(0, 2), (1, 2)]),
    ],
)
def test_what_a_ranking_becomes(loss: LossName, ranks: Sequence[int], orders: list[tuple[int, ...]]) -> None:
    assert [found.order for found in comparisons(ranking(*ranks), loss)] == orders


def test_a_pair_for_kto_is_a_good_and_a_bad_answer() -> None:
    assert [(found.order, found.label) for found in comparisons(pair(), "kto")] == [((0,), True), ((1,), False)]


@pytest.mark.parametrize("loss", LOSSES)
def test_kinds_that_a_loss_does_not_take_make_no_example(loss: LossName) -> None:
    kinds = {"pair": pair(), "ranking": ranking(1, 2), "unpaired": single(0)}
    served = {kind for kind, record in kinds.items() if comparisons(record, loss)}
    assert served == LOSSES[loss].data


def test_weight_confidence_and_margin_reach_the_example() -> None:
    renderer = make_renderer(make_tokenizer(), [1])
    (found,) = tokenise(renderer, [pair(weight=2.0, confidence=0.75, margin=1.5)], 64, "drop").examples
    assert (found.weight, found.confidence, found.margin, found.line) == (2.0, 0.75, 1.5, 3)
    (plain,) = tokenise(renderer, [pair()], 64, "drop").examples
    assert (plain.weight, plain.confidence, plain.margin) == (1.0, 1.0, 0.0)


def test_a_list_shares_its_prompt_and_keeps_the_order() -> None:
    renderer = make_renderer(make_tokenizer(), [1])
    (found,) = tokenise(renderer, [ranking(3, 1, 2)], 64, "drop", "plackett_luce").examples
    texts = [renderer.tokenizer.decode(answer.ids[found.prefix : -1]) for answer in found.answers]
    assert texts == ["a river", "cold rain", "the fox"]
    assert len({answer.ids[: found.prefix] for answer in found.answers}) == 1


def test_mismatched_answers_are_others_behind_the_same_prompt() -> None:
    renderer = make_renderer(make_tokenizer(), [1])
    records = [single(i, label=i % 2 == 0) for i in range(4)]
    whole = tokenise(renderer, records, 64, "drop", "kto", seed=5)
    assert [found.label for found in whole.examples] == [True, False, True, False]
    assert len(whole.mismatched) == 4
    for own, other in zip(whole.examples, whole.mismatched, strict=True):
        assert own.answers[0].ids != other.answers[0].ids
        assert own.answers[0].ids[: own.prefix] == other.answers[0].ids[: other.prefix]
    again = tokenise(renderer, records, 64, "drop", "kto", seed=5)
    assert again.mismatched == whole.mismatched
    parts = [tokenise(renderer, records, 64, "drop", "kto", seed=5, share=(rank, 3)) for rank in range(3)]
    assert together(parts).mismatched == whole.mismatched
    assert together(parts).examples == whole.examples


def test_no_record_is_its_own_partner() -> None:
    records = [single(i) for i in range(4)]
    for seed in range(20):
        for own, others in enumerate(partners(records, seed)):
            assert own not in others
            assert len(others) == 3


def test_shares_of_a_one_line_file_come_together_in_order() -> None:
    """All records of a JSON array on one line have the same line number."""
    renderer = make_renderer(make_tokenizer(), [1])
    records = [ranking(2, 1, 3), pair(), ranking(1, 2), pair(), pair()]
    whole = tokenise(renderer, records, 64, "drop")
    parts = [tokenise(renderer, records, 64, "drop", share=(rank, 2)) for rank in range(2)]
    assert together(parts).examples == whole.examples
