"""A real model passes every gate, in both precisions, and each planted fault is caught on it (docs/numerics.md)."""

from types import SimpleNamespace
from typing import Any

import pytest

from core.contract.preference import Message, Origin, PreferenceRecord
from core.contract.run_spec import Settings
from tests.support.plain_engine import ALONE, PlainEngine
from tests.support.planted import FAULTS
from tests.support.real_model import real_model
from trainer import folder, model
from trainer.data import Example, make_renderer, tokenise
from trainer.probe import SHORT, Truth, chosen, probe

PAIRS = [
    ("Name a colour of the rainbow.", "Indigo, the one that everybody forgets.", "Red."),
    ("Is water wet?", "Yes", "No"),
    (
        "How do I keep a sourdough starter alive while I am away for two weeks?",
        "Feed it once more, make it stiff with extra flour, and put it into the fridge with the lid loose. When you are"
        " back, throw most of it away and feed the rest twice a day until it doubles in four hours.",
        "You cannot. Starters die without daily care, so give it to a neighbour or begin again when you return home.",
    ),
    ("Tell me a joke.", "A neutron walks into a bar. For you, no charge.", "I am sorry, I do not know any jokes."),
    ("What is 17 times 3?", "51", "Let me think about it: seventeen times three is about fifty."),
]


def listed(text: str, first: int, count: int) -> str:
    return " ".join(f"{number}. {text}" for number in range(first, first + count))


# Answers of more than 840 tokens, among which a leak of one layer hides best.
LONG = [(PAIRS[2][0], listed(PAIRS[2][1], first, 18), listed(PAIRS[2][2], first, 32)) for first in (1, 50)]


def examples(pairs: list[tuple[str, str, str]] = PAIRS, longest: int = SHORT) -> list[Example]:
    path = real_model()
    renderer = make_renderer(folder.load_tokenizer(path), folder.end_tokens(path))
    records = [
        PreferenceRecord(
            id=str(number),
            prompt=[Message(role="user", content=prompt)],
            chosen=[Message(role="assistant", content=chosen)],
            rejected=[Message(role="assistant", content=rejected)],
            origin=Origin(line=number + 1, format="test"),
        )
        for number, (prompt, chosen, rejected) in enumerate(pairs)
    ]
    return tokenise(renderer, records, longest, "error").examples


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_planted_fault_is_caught(precision: str) -> None:
    """And nothing is refused without one."""
    loaded = model.load(real_model(), precision)
    engine: Any = PlainEngine(loaded)
    spec: Any = SimpleNamespace(settings=Settings(precision=precision), layout="auto")  # type: ignore[arg-type]
    found = probe(engine, ALONE, spec, examples())
    assert (found.layout, found.reason) == ("shared", "")
    few = chosen(examples())
    gate = Truth(engine, ALONE, few).gate(range(2), found.noise, None)
    missed = []
    for name, fault in FAULTS.items():
        with fault(loaded):
            if not gate.refuses("shared"):
                missed.append(name)
    assert not missed
    assert not gate.refuses("shared")
    assert not gate.refuses("packed")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_leak_between_long_answers_is_caught(precision: str) -> None:
    """Where it moves a sum by less than rounding does."""
    loaded = model.load(real_model(), precision)
    engine: Any = PlainEngine(loaded)
    few = examples(LONG, 1024)
    assert all(840 < len(answer.ids) < 1024 for each in few for answer in each.answers)
    truth = Truth(engine, ALONE, few)
    gate = truth.gate(range(2), truth.noise(precision), None)
    assert not gate.refuses("shared")
    for layer in ("a middle", "the last"):
        with FAULTS[f"a neighbour's token visible in {layer} layer"](loaded):
            assert "visibility" in gate.refuses("shared")
