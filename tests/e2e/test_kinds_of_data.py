"""Single answers, rankings and pairs with numbers beside them: from upload to model, or refused by line."""

import json
import random
from collections.abc import Callable, Iterator
from math import log
from typing import Any

import pytest

from tests.e2e.conftest import MODEL
from tests.e2e.live import User, error_of
from tests.launch import alone
from tests.models import WORDS
from tests.waiting import until

JOBS = "/fine_tuning/jobs"
COUNT = 24
Row = dict[str, Any]
TWICE = {"weight": 2}


def words(draw: random.Random, least: int = 3, most: int = 8) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))


def single(draw: random.Random) -> Row:
    good = draw.random() < 0.5
    return {
        "prompt": words(draw),
        "completion": f"{words(draw)} {'wonderful' if good else 'boring'}",
        "label": good,
    } | TWICE


def ranking(draw: random.Random) -> Row:
    ends = enumerate(("wonderful", "strange", "boring"), 1)
    answers = [{"answer": f"{words(draw)} {end}", "rank": rank} for rank, end in ends]
    draw.shuffle(answers)
    return {"prompt": [{"role": "user", "content": words(draw)}], "answers": answers} | TWICE


def tied(draw: random.Random) -> Row:
    """Two equally good answers and a worse one."""
    row = ranking(draw)
    return row | {"answers": [each | {"rank": (each["rank"] + 1) // 2} for each in row["answers"]]}


def weighed(draw: random.Random) -> Row:
    told = {"prompt": words(draw), "chosen": f"{words(draw)} good", "rejected": f"{words(draw)} bad"}
    return told | TWICE | {"confidence": 0.75}


def lines(make: Callable[[random.Random], Row]) -> list[bytes]:
    draw = random.Random(5)
    return [json.dumps(make(draw)).encode() + b"\n" for _ in range(COUNT)]


# name -> (a record, counts of the report that are not 0 beside the common ones, words of status_details)
FILES: dict[str, tuple[Callable[[random.Random], Row], dict[str, int], str]] = {
    "kto.jsonl": (single, {"unpaired": COUNT}, "24 answers taken."),
    "ranked.jsonl": (ranking, {"rankings": COUNT, "comparisons": 3 * COUNT, "ties": 0}, "24 rankings taken."),
    "tied.jsonl": (tied, {"rankings": COUNT, "comparisons": 2 * COUNT, "ties": COUNT}, "24 rankings taken."),
    "weighed.jsonl": (weighed, {"pairs": COUNT}, "24 pairs taken."),
}
# loss and file -> (examples, the loss of the first step: policy and reference are one model then)
RUNS: dict[tuple[str, str], tuple[int, float]] = {
    ("kto", "kto.jsonl"): (COUNT, 2 * 0.5),
    ("s_dpo", "ranked.jsonl"): (COUNT, 2 * log(3)),
    ("plackett_luce", "ranked.jsonl"): (COUNT, 2 * log(6)),
    ("sigmoid", "ranked.jsonl"): (3 * COUNT, 2 * log(2)),
    ("sigmoid", "weighed.jsonl"): (COUNT, 2 * log(2)),
    ("sigmoid", "tied.jsonl"): (3 * COUNT, 2 * log(2)),
}
ASKED: dict[str, Row] = {"tied.jsonl": {"ties": "half"}}


@pytest.fixture(scope="module")
def files(user: User) -> dict[str, str]:
    return {name: user.upload(b"".join(lines(make)), name) for name, (make, _, _) in FILES.items()}


@pytest.fixture(scope="module")
def jobs(user: User, files: dict[str, str]) -> Iterator[dict[tuple[str, str], str]]:
    """One rank each, side by side."""
    with alone():
        settings = {"batch_size": 4, "max_steps": 2}
        yield {
            (loss, name): user.create(MODEL, files[name], loss=loss, **settings | ASKED.get(name, {}))
            for loss, name in RUNS
        }


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_each_kind_is_counted_in_its_own_words(user: User, files: dict[str, str], name: str) -> None:
    _, counts, details = FILES[name]
    file = user.judged(files[name])
    assert (file["status"], file["status_details"]) == ("processed", details)
    report = user.http.get(f"/files/{files[name]}/report").json()
    assert report["counts"] == report["counts"] | counts | {"records": COUNT, "usable": COUNT, "bad": 0}
    assert report["columns"] == ["weight", *(["confidence"] if name == "weighed.jsonl" else [])]


@pytest.mark.parametrize(("loss", "name"), RUNS)
def test_each_becomes_a_model(user: User, jobs: dict[tuple[str, str], str], loss: str, name: str) -> None:
    examples, first = RUNS[loss, name]
    job_id = jobs[loss, name]
    done = user.succeeded(job_id)
    data = done["palate"]["data"]
    assert (data["pairs"], data["dropped"], data["ties_left_out"]) == (examples, 0, 0)
    shown = done["method"]["dpo"]["hyperparameters"]
    assert (shown["loss"], shown["ties"]) == (loss, ASKED.get(name, {}).get("ties", "drop"))
    losses = user.http.get(f"{JOBS}/{job_id}/metrics", params={"name": "train_loss"}).json()["train_loss"]
    assert losses[0] == pytest.approx(first, abs=0.01)
    assert len(user.weights(job_id)["model.safetensors"]) == 64
    told = [line for line in user.messages(job_id) if line.startswith("The data, by the reference model:")]
    assert len(told) == (loss != "kto"), "single answers are not compared"


def test_ties_are_left_out_unless_they_are_asked_for_and_counted(user: User, files: dict[str, str]) -> None:
    user.judged(files["tied.jsonl"])
    job_id = user.create(MODEL, files["tied.jsonl"], loss="sigmoid")
    until(lambda: user.job(job_id)["status"] != "validating_files", f"the inspection for {job_id}")
    user.http.post(f"{JOBS}/{job_id}/cancel")
    data = user.job(job_id)["palate"]["data"]
    assert (data["pairs"], data["ties_left_out"]) == (2 * COUNT, COUNT)
    told = f"Files validated: {2 * COUNT} examples, 0 records and {COUNT} ties left out. Queued."
    assert told in user.messages(job_id)


BAD: dict[str, tuple[Callable[[random.Random], Row], Row, tuple[str, str]]] = {
    "label": (single, {"label": 1}, ("label_not_bool", "label")),
    "completion": (single, {"completion": 1}, ("field_type", "completion")),
    "rank": (
        ranking,
        {"answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": "2"}]},
        ("rank_invalid", "answers[1].rank"),
    ),
    "weight": (weighed, {"weight": -1}, ("weight_invalid", "weight")),
    "confidence": (weighed, {"confidence": 0.25}, ("confidence_invalid", "confidence")),
}


@pytest.fixture(scope="module")
def spoiled(user: User) -> dict[str, str]:
    sent = {}
    for case, (make, wrong, _) in BAD.items():
        rows = lines(make)
        rows[16] = json.dumps(json.loads(rows[16]) | wrong).encode() + b"\n"
        sent[case] = user.upload(b"".join(rows), f"{case}.jsonl")
    return sent


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_told_by_its_line(user: User, spoiled: dict[str, str], case: str) -> None:
    file = user.judged(spoiled[case])
    assert file["status"] == "error"
    assert "line 17" in file["status_details"]
    found = user.http.get(f"/files/{file['id']}/errors").json()["data"]
    assert [(each["line"], each["code"], each["path"]) for each in found] == [(17, *BAD[case][2])]


@pytest.mark.parametrize(
    ("loss", "name"),
    [("sigmoid", "kto.jsonl"), ("kto", "ranked.jsonl"), ("hinge", "weighed.jsonl"), ("ipo", "ranked.jsonl")],
)
def test_a_loss_that_the_data_cannot_serve_is_refused(user: User, files: dict[str, str], loss: str, name: str) -> None:
    user.judged(files[name])
    method = {"type": "dpo", "dpo": {"hyperparameters": {"loss": loss}}}
    body = {"model": MODEL, "training_file": files[name], "method": method}
    error = error_of(user.http.post(JOBS, json=body), 400)
    assert (error["code"], error["param"]) == ("loss_needs_other_data", "method.dpo.hyperparameters.loss")
