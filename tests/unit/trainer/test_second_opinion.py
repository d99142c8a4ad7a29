"""Labels that were turned round: how many, and which, is found within tolerance; a clean twin is silent."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.contract.finding import Finding
from core.contract.preference import Message, Origin, PreferenceRecord
from tests.models import WORDS, make_tokenizer
from trainer.collection import scored_tokens
from trainer.data import Example, make_renderer, tokenise
from trainer.reference_checks import checks, remedy
from trainer.render import Answer
from trainer.second_opinion import PROMPT_TOKENS, SHORT, WIDTH, opinion, present

PAIRS = 400
RENDERER = make_renderer(make_tokenizer(), [1])


def said(text: str) -> list[Message]:
    return [Message(role="assistant", content=text)]


def examples(flips: float = 0.0, seed: int = 0) -> tuple[list[Example], list[bool]]:
    """The better answer has one of some words, the other one of others, among words that say nothing."""
    draw = random.Random(seed)
    nice, nasty = WORDS[:6], WORDS[6:12]
    records = []
    for i in range(PAIRS):
        better, worse = (
            " ".join(draw.sample([*draw.choices(WORDS[12:], k=6), draw.choice(kind)], 7)) for kind in (nice, nasty)
        )
        prompt = [Message(role="user", content=f"{draw.choice(WORDS)} {i}")]
        origin = Origin(line=i + 1, format="t")
        records.append(
            PreferenceRecord(id=str(i), prompt=prompt, chosen=said(better), rejected=said(worse), origin=origin)
        )
    made = tokenise(RENDERER, records, 256, "drop").examples
    flipped = [draw.random() < flips for _ in made]
    return [replace(e, answers=e.answers[::-1]) if f else e for e, f in zip(made, flipped, strict=True)], flipped


def reference(made: list[Example], nats: float = 2.0, gap: float = 0.0) -> torch.Tensor:
    """Every token costs `nats`, of the first answer of a pair `gap` less."""
    cost = torch.tensor([nats - gap * (i % 2 == 0) for i in range(2 * len(made))])
    sums = -cost * scored_tokens(made)
    return torch.stack([sums, torch.zeros_like(sums)], dim=1)


def found_in(made: list[Example], logps: torch.Tensor) -> dict[str, Finding]:
    return {each.code: each for each in checks(made, logps, 0)}


@pytest.mark.parametrize("dose", [0.0, 0.05, 0.1, 0.2, 0.3])
def test_a_dose_of_flips_is_found(dose: float) -> None:
    made, flipped = examples(dose)
    found = found_in(made, reference(made))["suspected_flips"]
    assert found.value == pytest.approx(sum(flipped) / PAIRS, abs=0.05)
    assert found.detail["by"] == "cross-validation"
    lines = found.detail["lines"]
    wrong = {example.line for example, flip in zip(made, flipped, strict=True) if flip}
    if dose:
        assert len(wrong & set(lines)) >= 0.7 * len(lines) > 0, "most of those listed are wrong"
        assert [each.line for each in found.examples] == lines[:20]
        assert found.action == remedy(found.value or 0.0)
    else:
        assert found.count == len(lines) == 0
        assert "Nothing to do" in found.action


def test_the_opinion_on_a_pair_is_that_of_other_prompts() -> None:
    """A model that had seen the pair itself would agree with its label, whatever it is."""
    made, _ = examples()
    noise = [replace(e, answers=e.answers[:: random.Random(i).choice([1, -1])]) for i, e in enumerate(made)]
    seen = opinion(noise, np.zeros((PAIRS, 1)), 0)
    assert seen is not None
    assert 0.4 < seen.accuracy < 0.6
    one_prompt = [replace(e, group="same") for e in made]
    assert opinion(one_prompt, np.zeros((PAIRS, 1)), 0) is None
    assert opinion(made[:50], np.zeros((50, 1)), 0) is None


def test_a_margin_that_tells_is_learned_beside_the_words() -> None:
    made, flipped = examples(0.3)
    truth = np.array([[-1.0 if flip else 1.0] for flip in flipped])
    truth += 0.3 * np.random.default_rng(0).normal(size=(PAIRS, 1))
    blind, seeing = (opinion(made, margins, 0) for margins in (np.zeros((PAIRS, 1)), truth))
    assert blind is not None
    assert seeing is not None
    right = [np.mean((each.odds < 0) == np.array(flipped)) for each in (blind, seeing)]
    assert right[1] > right[0]


def test_what_the_reference_prefers() -> None:
    made, _ = examples()

    def agreement(logps: torch.Tensor) -> Finding:
        return found_in(made, logps)["reference_agreement"]

    with_it, against = agreement(reference(made, 0.0, gap=0.5)), agreement(reference(made, 0.0, gap=-1.5))
    assert [(each.severity, each.value) for each in (with_it, against)] == [("warn", 1.0), ("warn", 0.0)]
    assert against.examples[0].note.endswith("by 1.50 nats a token.")
    half = torch.cat([reference(made[:200], 0.0, gap=1.0), reference(made[200:], 0.0, gap=-1.0)])
    assert (agreement(half).severity, agreement(half).value) == ("info", 0.5)


def test_so_many_flips_are_not_believed() -> None:
    assert "Nothing to do" in remedy(0.01)
    assert "leave them out; else train with label_smoothing 0.20" in remedy(0.2)
    assert "before anything else" in remedy(0.31)


@pytest.mark.parametrize(("nats", "severity"), [(2.0, "info"), (6.0, "warn")])
def test_how_far_the_answers_are_from_the_models_own(nats: float, severity: str) -> None:
    made, _ = examples()
    found = found_in(made, reference(made, nats))["off_policy_distance"]
    assert (found.severity, found.value) == (severity, pytest.approx(nats, abs=1e-4))


def test_few_pairs_are_ranked_by_the_margin_alone() -> None:
    made = examples()[0][:20]
    logps = reference(made)
    logps[10, 0] -= 50
    found = found_in(made, logps)["suspected_flips"]
    assert (found.detail, found.count) == ({"by": "reference", "pairs": 20, "lines": [made[5].line]}, 1)


def test_ties_and_single_answers_have_no_label_to_turn_round() -> None:
    made, _ = examples()
    tied = [replace(e, confidence=0.5) for e in made]
    assert checks(tied, reference(made), 0) == []
    mixed = [*tied[:200], *made[200:]]
    assert found_in(mixed, reference(made))["reference_agreement"].detail["pairs"] == 200
    singles = [replace(e, answers=e.answers[:1]) for e in made]
    assert checks(singles, reference(made)[::2], 0) == []
    assert checks([], torch.zeros(0, 2), 0) == []


def test_what_an_answer_holds_is_counted_in_arrays_as_in_sets() -> None:
    """Long and short answers, none at all, prompts shorter and longer than is looked at, tokens that come twice."""
    draw = random.Random(5)
    made, expected = [], []

    def place(a: int, b: int) -> int:
        return (a * 2_654_435_761 + b * 40_503 + 97) % 4_294_967_291 % WIDTH

    for number in range(300):
        most = draw.choice([40, 200_000])
        prompt = tuple(draw.randrange(most) for _ in range(draw.choice([1, 20, PROMPT_TOKENS, 90])))
        ids = tuple(draw.randrange(most) for _ in range(draw.choice([0, 1, SHORT, SHORT + 1, 50])))
        made.append(Example(str(number), number, len(prompt), (Answer(prompt + ids, ()),)))
        held = {place(token, -1) for token in ids} | {place(a, b) for a, b in pairwise(ids)}
        if len(ids) <= SHORT:
            held |= {place(token, -2 - word) for token in ids for word in prompt[-PROMPT_TOKENS:]}
        expected += [number * WIDTH + each for each in sorted(held)]
    assert present(made, 0).tolist() == expected
