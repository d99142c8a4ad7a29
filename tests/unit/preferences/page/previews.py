"""Previews made by hand: a pair, one with a cut, one too long, hidden tokens, hostile text."""

from core.contract.preview import Cut, Preview, Said, Tokens
from tests.unit.preferences.page.reports import HOSTILE


def stretch(*pieces: str, counted: bool = False, hidden: int = 0) -> dict[str, object]:
    return {
        "text": "".join(pieces),
        "token_ids": list(range(len(pieces))),
        "pieces": list(pieces),
        "mask": [int(counted)] * len(pieces),
        "hidden": hidden,
    }


def previews() -> list[Preview]:
    said = HOSTILE.encode(errors="replace").decode()
    plain = Preview(
        line=1,
        kind="pair",
        prompt=Tokens(**stretch("<user>", "How", " do", " I", " boil", " an", " egg", "?", "\n")),
        answers=[
            Said(name="chosen", **stretch("Six", " minutes", ".", "<end>", counted=True)),
            Said(name="rejected", **stretch("Ten", ".", "<end>", counted=True)),
        ],
    )
    told = ["The chat template tells the time."]
    cut = plain.model_copy(update={"line": 2, "cut": Cut(at=1, **stretch("An", " old", " turn")), "notes": told})
    over = plain.model_copy(
        update={
            "line": 3,
            "answers": [Said(name="chosen", over=2, **stretch("one", " two", " three", " four", counted=True))],
            "problem": "too_long",
            "message": "The record has 40 tokens, 2 more than max_length.",
        }
    )
    long = plain.model_copy(
        update={"line": 4, "prompt": Tokens(**stretch(*(f" word{n}" for n in range(300)), hidden=5000))}
    )
    hostile = plain.model_copy(
        update={
            "line": 5,
            "prompt": Tokens(**stretch(said, "", "\t")),
            "problem": said,
            "message": said,
            "notes": [said],
        }
    )
    return [plain, cut, over, long, hostile]
