"""What people are shown of the data is what the trainer reads, token by token."""

from collections.abc import Sequence
from pathlib import Path

from core.contract.preference import AnyRecord, Message, Origin, PreferenceRecord, RankingRecord, TieRecord
from core.contract.preview import Preview
from core.contract.run_spec import InspectSpec
from tests.models import make_tokenizer
from trainer.data import Truncation, make_renderer, tokenise
from trainer.preview import CUT, LONGEST, SHOWN, chosen_few, pieces, previews

ORIGIN = Origin(line=3, format="t")


def said(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


def pair(prompt: Sequence[Message], chosen: str = "the fox", rejected: str = "a river") -> PreferenceRecord:
    return PreferenceRecord(
        id="p", prompt=list(prompt), chosen=said(chosen), rejected=said(rejected), origin=ORIGIN, confidence=0.75
    )


ASK = [Message(role="user", content="why")]
TALK = [
    Message(role="system", content="be brief"),
    Message(role="user", content="a fox " * 20),
    Message(role="assistant", content="no"),
    Message(role="user", content="the last"),
]


def shown(records: Sequence[AnyRecord], limit: int = 256, truncation: Truncation = "drop") -> list[Preview]:
    renderer = make_renderer(make_tokenizer(), [1])
    found = tokenise(renderer, records, limit, truncation)
    spec = InspectSpec(model_dir=Path(), data=Path(), out=Path(), truncation=truncation)
    return list(previews(renderer, records, chosen_few(found), found.fallen, spec, limit))


def test_it_is_what_the_trainer_reads() -> None:
    record = pair(ASK)
    renderer = make_renderer(make_tokenizer(), [1])
    (example,) = tokenise(renderer, [record], 256, "drop").examples
    (found,) = shown([record])
    assert [answer.name for answer in found.answers] == ["chosen", "rejected"]
    assert [each.model_dump() for each in found.examples] == [
        {"answers": [0, 1], "confidence": 0.75, "margin": 0.0, "label": None}
    ]
    for answer, read in zip(found.answers, example.answers, strict=True):
        assert tuple(found.prompt.token_ids + answer.token_ids) == read.ids
        mask = found.prompt.mask + answer.mask
        assert [i for i, bit in enumerate(mask) if bit] == [i for start, end in read.spans for i in range(start, end)]
        for tokens in (found.prompt, answer):
            assert "".join(tokens.pieces) == tokens.text == renderer.tokenizer.decode(tokens.token_ids)
            assert len(tokens.pieces) == len(tokens.mask) == len(tokens.token_ids)
    assert found.answers[0].text == "the fox<|end|>"
    assert (found.line, found.cut, found.problem) == (3, None, None)


def test_the_oldest_turns_that_are_cut() -> None:
    (found,) = shown([pair(TALK)], 60, "keep_end")
    assert found.cut is not None
    assert found.cut.text == "<|user|>\n" + "a fox " * 20 + "<|end|>\n<|assistant|>\nno<|end|>\n"
    before, after = found.prompt.pieces[: found.cut.at], found.prompt.pieces[found.cut.at :]
    assert "".join(before) == "<s><|system|>\nbe brief<|end|>\n"
    assert "".join(after) == "<|user|>\nthe last<|end|>\n<|assistant|>\n"
    assert "fox" not in found.prompt.text
    assert found.problem is None


def test_what_is_too_long_says_so_and_by_how_much() -> None:
    (found, fine) = shown([pair(ASK, chosen="good " * 300), pair(ASK)])
    assert found.problem == "too_long"
    assert found.message is not None
    assert "max_length is 256" in found.message
    long, short = found.answers
    assert long.over == len(found.prompt.token_ids) + len(long.token_ids) + long.hidden - 256
    assert (short.over, found.examples) == (0, [])
    assert fine.problem is None


def test_a_ranking_is_shown_once_with_all_that_is_compared() -> None:
    words = [said(text) for text in ("the fox", "a river", "cold rain")]
    ranking = RankingRecord(id="r", prompt=ASK, completions=words, ranks=[2, 1, 2], origin=ORIGIN)
    (found,) = shown([ranking])
    assert [answer.text for answer in found.answers] == ["a river<|end|>", "the fox<|end|>", "cold rain<|end|>"]
    assert [(each.answers, each.margin) for each in found.examples] == [([0, 1], 1.0), ([0, 2], 1.0)]


def test_twenty_and_some_of_them_cut() -> None:
    records: list[AnyRecord] = [pair(ASK) for _ in range(40)]
    records += [pair(ASK, chosen="good " * 300) for _ in range(9)]
    records.append(TieRecord(id="t", prompt=ASK, chosen=said("the fox"), rejected=said("a river"), origin=ORIGIN))
    found = shown(records)
    assert len(found) == SHOWN
    assert [each.problem for each in found].count("too_long") == CUT


def test_a_long_stretch_is_hidden_in_the_middle() -> None:
    (found,) = shown([pair(ASK, chosen="good " * 3_000)], 256)
    answer = found.answers[0]
    assert len(answer.token_ids) == len(answer.mask) == len(answer.pieces) == LONGEST
    assert answer.hidden > 1_000


def test_pieces_of_a_character_that_takes_several_tokens() -> None:
    tokenizer = make_tokenizer()
    for text in ("naïve 東京 🦊!", "the fox", "", "�", "a �� b"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert "".join(pieces(tokenizer, ids)) == text
        assert len(pieces(tokenizer, ids)) == len(ids)
    fox = tokenizer("🦊", add_special_tokens=False)["input_ids"]
    assert pieces(tokenizer, fox) == [""] * (len(fox) - 1) + ["🦊"]
