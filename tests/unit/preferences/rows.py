"""Rows of each format, made by the dozen, and a check over them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from preferences.check import check_file
from preferences.limits import Limits
from preferences.report import Report

Row = dict[str, Any]
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def turn(role: str, content: Any, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


def openai(number: int = 0) -> Row:
    return {
        "input": {"messages": [turn("user", f"What is {number} + 1?")]},
        "preferred_output": [turn("assistant", f"It is {number + 1}.")],
        "non_preferred_output": [turn("assistant", "No idea.")],
    }


def conversational(number: int = 0) -> Row:
    return {
        "prompt": [turn("user", f"What is {number} + 1?")],
        "chosen": [turn("assistant", f"It is {number + 1}.")],
        "rejected": [turn("assistant", "No idea.")],
    }


def implicit(number: int = 0) -> Row:
    asked = turn("user", f"What is {number} + 1?")
    return {
        "chosen": [asked, turn("assistant", f"It is {number + 1}.")],
        "rejected": [asked, turn("assistant", "No idea.")],
    }


def triple(number: int = 0) -> Row:
    return {"prompt": f"What is {number} + 1?", "chosen": f"It is {number + 1}.", "rejected": "No idea."}


def hh(number: int = 0) -> Row:
    asked = f"\n\nHuman: What is {number} + 1?\n\nAssistant:"
    return {"chosen": f"{asked} It is {number + 1}.", "rejected": f"{asked} No idea."}


def ranked(number: int = 0) -> Row:
    answers = [("No idea.", 3), (f"It is {number + 1}.", 1), (f"Nearly {number}.", 2)]
    return {
        "prompt": f"What is {number} + 1?",
        "answers": [{"answer": answer, "rank": rank} for answer, rank in answers],
    }


def rated(number: int = 0) -> Row:
    return {
        "prompt": [turn("user", f"What is {number} + 1?")],
        "responses": ["No idea.", [turn("assistant", f"It is {number + 1}.")], f"Nearly {number}."],
        "ratings": [1, 5, 2.5],
    }


def kto(number: int = 0) -> Row:
    good = number % 2 == 0
    return {
        "prompt": f"What is {number} + 1?",
        "completion": f"It is {number + 1}." if good else "No idea.",
        "label": good,
    }


def kto_messages(number: int = 0) -> Row:
    row = kto(number)
    return {
        "messages": [turn("user", row["prompt"]), turn("assistant", row["completion"])],
        "kto_tag": row["label"],
    }


def vertex(number: int = 0) -> Row:
    said = [(0.0, "No idea."), (1.0, f"It is {number + 1}.")]
    return {
        "contents": [{"role": "user", "parts": [{"text": f"What is {number} + 1?"}]}],
        "completions": [
            {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}} for score, text in said
        ],
    }


def nemo_rl(number: int = 0) -> Row:
    said = [(1, "No idea."), (0, f"It is {number + 1}.")]
    return {
        "context": [turn("user", f"What is {number} + 1?")],
        "completions": [{"rank": rank, "completion": [turn("assistant", text)]} for rank, text in said],
    }


def nemo_aligner(number: int = 0) -> Row:
    return {
        "prompt": f"<extra_id_0>System\n\n<extra_id_1>User\nWhat is {number} + 1?\n<extra_id_1>Assistant\n",
        "chosen_response": f"It is {number + 1}.\n<extra_id_1>",
        "rejected_response": "No idea.\n<extra_id_1>",
        "chosen_reward": 4.5,
        "rejected_reward": 1.0,
    }


def argilla(number: int = 0) -> Row:
    return {
        "instruction": f"What is {number} + 1?",
        "chosen_response": f"It is {number + 1}.",
        "rejected_response": "No idea.",
        "chosen_avg_rating": 5.0,
        "rejected_avg_rating": 1.5,
    }


def sharegpt(number: int = 0) -> Row:
    return {
        "conversations": [{"from": "human", "value": f"What is {number} + 1?"}],
        "chosen": {"from": "gpt", "value": f"It is {number + 1}."},
        "rejected": {"from": "gpt", "value": "No idea."},
    }


def alpaca(number: int = 0) -> Row:
    return {
        "instruction": f"What is {number} + 1?",
        "input": "",
        "chosen": f"It is {number + 1}.",
        "rejected": "No idea.",
    }


def alpaca_legacy(number: int = 0) -> Row:
    return {"instruction": f"What is {number} + 1?", "output": [f"It is {number + 1}.", "No idea."]}


def swift(number: int = 0) -> Row:
    return {
        "messages": [turn("user", f"What is {number} + 1?"), turn("assistant", f"It is {number + 1}.")],
        "rejected_response": "No idea.",
    }


def swift_messages(number: int = 0) -> Row:
    asked = turn("user", f"What is {number} + 1?")
    return {
        "messages": [asked, turn("assistant", f"It is {number + 1}.")],
        "rejected_messages": [asked, turn("assistant", "No idea.")],
    }


def axolotl(number: int = 0) -> Row:
    return {
        "messages": [turn("user", f"What is {number} + 1?")],
        "chosen": turn("assistant", f"It is {number + 1}."),
        "rejected": turn("assistant", "No idea."),
    }


def ultrafeedback(number: int = 0) -> Row:
    row = implicit(number)
    return row | {
        "prompt": f"What is {number} + 1?",
        "messages": row["chosen"],
        "score_chosen": 8.0,
        "score_rejected": 2.5,
    }


def helpsteer(number: int = 0) -> Row:
    return {
        "context": [turn("user", f"What is {number} + 1?")],
        "response1": "No idea.",
        "response2": f"It is {number + 1}.",
        "overall_preference": 2,
    }


PAIRS = {
    "openai_preference": openai,
    "vertex": vertex,
    "nemo_rl": nemo_rl,
    "nemo_aligner": nemo_aligner,
    "argilla_uf": argilla,
    "llamafactory_sharegpt": sharegpt,
    "llamafactory_alpaca": alpaca,
    "swift_axolotl": swift,
    "trl_conversational": conversational,
    "trl_implicit": implicit,
    "ultrafeedback_binarized": ultrafeedback,
    "plain_triple": triple,
    "hh_rlhf": hh,
    "helpsteer3": helpsteer,
}
BUILDERS = PAIRS | {"ranked": ranked, "kto": kto}


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def check(data: bytes, **options: Any) -> Report:
    """Without the checks that look at every word, unless they are asked for."""
    return check_file(io.BytesIO(data), **({"checks": "quick"} | options))


def among_good(row: Any, build: Any = openai, at: int = 12, total: int = 40) -> bytes:
    """`row` (or its bytes) on line `at` of a file that is good otherwise."""
    lines = jsonl([build(number) for number in range(total)]).splitlines()
    lines[at - 1] = row if isinstance(row, bytes) else json.dumps(row).encode()
    return b"\n".join(lines) + b"\n"


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is real data that the project does not carry; it is looked for in ../shared/data")
    return path


SMALL = Limits(line=4096, unpacked=1 << 20, ratio=50, ratio_from=64 << 10)
