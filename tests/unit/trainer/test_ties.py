"""Ties, ranks, margins and votes: from the record to the number that the loss gives, computed by hand."""

from math import exp, log
from typing import Any, Literal

import pytest
import torch

from core.contract.losses import LossName
from core.contract.preference import Annotator, AnyRecord, Message, Origin, PreferenceRecord, RankingRecord, TieRecord
from core.contract.run_spec import Settings
from tests.models import make_tokenizer
from trainer.collection import scores
from trainer.data import Tokenised, make_renderer, tokenise
from trainer.examples import votes
from trainer.losses import loss

ORIGIN = Origin(line=3, format="t")
ASK = [Message(role="user", content="why")]
# h of each answer that a test gives, by its text: policy minus reference.
H = {"the fox": 4.0, "a river": -2.0, "cold rain": 1.0}
Choice = Literal["chosen", "rejected", "tie"]


def said(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


def pair(*choices: Choice, **more: Any) -> PreferenceRecord:
    annotators = [Annotator(id=f"a{i}", choice=choice) for i, choice in enumerate(choices)] or None
    return PreferenceRecord(
        id="p",
        prompt=ASK,
        chosen=said("the fox"),
        rejected=said("a river"),
        annotators=annotators,
        origin=ORIGIN,
        **more,
    )


def tie() -> TieRecord:
    return TieRecord(id="t", prompt=ASK, chosen=said("the fox"), rejected=said("a river"), origin=ORIGIN)


def ranking(*ranks: int) -> RankingRecord:
    return RankingRecord(
        id="r", prompt=ASK, completions=[said(t) for t in list(H)[: len(ranks)]], ranks=list(ranks), origin=ORIGIN
    )


def taken(record: AnyRecord, **settings: Any) -> tuple[Tokenised, list[float]]:
    """What becomes of the record, and the loss of each example where h is as in H and beta 0.5."""
    resolved = Settings(beta=0.5, **settings)
    renderer = make_renderer(make_tokenizer(), [1])
    found = tokenise(renderer, [record], 64, "drop", resolved.loss, ties=resolved.ties, annotators=resolved.annotators)
    if not found.examples:
        return found, []
    sums = [
        H[renderer.tokenizer.decode(answer.ids[example.prefix : -1])]
        for example in found.examples
        for answer in example.answers
    ]
    policy = torch.tensor([[value, value] for value in sums], dtype=torch.float64)
    return found, loss(scores(found.examples, policy), resolved).tolist()


def nll(z: float) -> float:
    return log(1 + exp(-z))


def test_a_tie_is_left_out_and_counted() -> None:
    found, losses = taken(tie())
    assert (losses, found.ties, found.problems) == ([], 1, [])
    found, losses = taken(ranking(1, 2, 1))
    assert (len(losses), found.ties) == (2, 1)
    assert taken(ranking(1, 1))[0].ties == 1
    assert taken(pair())[0].ties == 0


def test_a_tie_as_half_a_win() -> None:
    """z = beta (4 + 2) = 3; at z = 0 it would be ln 2, its least: a tie pulls the two together."""
    found, losses = taken(tie(), ties="half")
    assert losses == [pytest.approx(0.5 * nll(3) + 0.5 * nll(-3), abs=1e-6)]
    assert losses[0] > log(2)
    assert found.ties == 0


def test_equal_ranks_as_half_a_win_beside_the_strict_pairs() -> None:
    """the fox = cold rain > a river."""
    found, losses = taken(ranking(1, 2, 1), ties="half")
    z = 0.5 * (H["the fox"] - H["cold rain"])
    wins = [nll(0.5 * (H[better] - H["a river"])) for better in ("the fox", "cold rain")]
    assert losses == [pytest.approx(value, abs=1e-6) for value in (*wins, 0.5 * nll(z) + 0.5 * nll(-z))]
    assert found.ties == 0


@pytest.mark.parametrize("name", ["s_dpo", "plackett_luce", "kto"])
def test_lists_and_single_answers_leave_a_tie_out_whatever_is_asked(name: LossName) -> None:
    found, losses = taken(tie(), loss=name, ties="half")
    assert (losses, found.ties) == ([], 1)


def test_equally_good_answers_of_a_list_lose_nothing() -> None:
    assert taken(ranking(1, 2, 1), loss="s_dpo")[0].ties == 0
    assert taken(ranking(1, 2, 1), loss="plackett_luce")[0].ties == 1


def test_the_distance_of_two_ranks_is_the_margin_of_their_pair() -> None:
    """the fox (1) > a river (2) > cold rain (4); margin_weight 0.25."""
    _, losses = taken(ranking(1, 2, 4), margin_weight=0.25)
    fox, river, rain = H.values()
    wanted = [(fox - river, 1), (fox - rain, 3), (river - rain, 2)]
    assert losses == [pytest.approx(nll(0.5 * d - 0.25 * margin), abs=1e-6) for d, margin in wanted]
    _, plain = taken(ranking(1, 2, 4))
    assert plain == [pytest.approx(nll(0.5 * d), abs=1e-6) for d, _ in wanted]


def test_votes_become_a_soft_label_where_it_is_asked() -> None:
    """Two for chosen, one for neither: (2 + 1/2 + 1/2) / 4 = 3/4."""
    record = pair("chosen", "tie", "chosen")
    assert taken(record)[1] == [pytest.approx(nll(3), abs=1e-6)]
    assert taken(record, annotators="confidence")[1] == [pytest.approx(0.75 * nll(3) + 0.25 * nll(-3), abs=1e-6)]


def test_what_most_annotators_reject_is_turned_round() -> None:
    """One for chosen of four: (1 + 1/2) / 5 = 0.3, so a river is better with 0.7; the margin of the scores is void."""
    found, losses = taken(pair("chosen", *["rejected"] * 3, margin=2.0), annotators="confidence", margin_weight=1.0)
    assert losses == [pytest.approx(0.7 * nll(-3) + 0.3 * nll(3), abs=1e-6)]
    assert found.examples[0].margin == 0


def test_a_confidence_that_the_record_states_is_kept() -> None:
    found, _ = taken(pair("rejected", confidence=0.9), annotators="confidence")
    assert found.examples[0].confidence == 0.9
    assert taken(pair(), annotators="confidence")[0].examples[0].confidence == 1.0


def test_votes() -> None:
    def of(*choices: Choice) -> float:
        return votes([Annotator(id="a", choice=choice) for choice in choices])

    assert of("chosen") == 0.75
    assert of("rejected") == 0.25
    assert of("tie") == 0.5
    assert of("chosen", "chosen", "chosen") == 0.875
    assert of("chosen", "rejected") == 0.5
