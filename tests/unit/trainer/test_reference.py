"""What is looked up, what is scored, and what is left for later runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.contract import manifest
from core.contract.errors import BadModel
from core.contract.losses import LossName
from core.contract.reference import reference_key
from core.contract.run_spec import RunSpec, Settings
from trainer import reference_file
from trainer.data import Example
from trainer.emit import Emitter
from trainer.reference import Reference, ReferencePass, without_reference
from trainer.render import Answer
from trainer.world import World

KEY = reference_key("model", "fp32")
ALONE = World(0, 1, torch.device("cpu"), None)


def answer(*ids: int, scored: int) -> Answer:
    return Answer(tuple(ids), ((len(ids) - scored, len(ids)),))


LONG, SHORT, OTHER = answer(1, 2, 3, 4, 5, scored=3), answer(1, 2, 6, scored=1), answer(7, 8, 9, scored=2)
PAIR = Example("a", 1, 2, (LONG, SHORT))
SECOND = Example("b", 4, 1, (OTHER, LONG))


class Judge:
    """Scores as the trainer's scorer does, and writes down whom it was asked about."""

    def __init__(self, offset: float = 0.0) -> None:
        self.asked: list[Answer] = []
        self.offset = offset

    def __call__(self, examples: Sequence[Example]) -> Tensor:
        rows = []
        for example in examples:
            shared = min(scored(each) for each in example.answers)
            self.asked += example.answers
            rows += [(self.truth(each), -shared / 10) for each in example.answers]
        return torch.tensor(rows)

    def truth(self, each: Answer) -> float:
        return -float(sum(each.ids)) / 3 + self.offset


def scored(each: Answer) -> int:
    return sum(end - start for start, end in each.spans)


def spec(tmp_path: Path, entries: Sequence[Path] = (), loss: LossName = "sigmoid", key: str = KEY) -> RunSpec:
    tmp_path.mkdir(exist_ok=True)
    return RunSpec(
        run_id="r",
        workspace=tmp_path,
        model_dir=tmp_path,
        model_digest="model",
        train_data=tmp_path / "t",
        train_digest="train-data",
        eval_data=tmp_path / "e",
        eval_digest="eval-data",
        settings=Settings(loss=loss),
        reference_key=key,
        reference_entries=list(entries),
    )


def begin(run: RunSpec, **parts: list[Example]) -> ReferencePass:
    return ReferencePass(run, ALONE, Emitter(run.workspace, 0), parts, {})


def events(run: RunSpec, kind: str) -> list[dict[str, Any]]:
    path = run.workspace / "events.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [each for each in found if each["event"] == kind]


def left_by(run: RunSpec) -> list[Path]:
    return [run.workspace / each["path"] / reference_file.NAME for each in events(run, "reference_sealed")]


def test_a_first_run_scores_everything_and_a_second_one_nothing(tmp_path: Path) -> None:
    first = spec(tmp_path / "first")
    search = begin(first, train=[PAIR], held_out=[SECOND])
    judge = Judge()
    assert (search.cached, search.missing) == (0, 4)
    computed = search.complete(judge)
    assert judge.asked == [LONG, SHORT, OTHER], "an answer that stands in two examples is scored once"
    assert computed.train[:, 0].tolist() == pytest.approx([judge.truth(LONG), judge.truth(SHORT)])
    assert computed.held_out[:, 0].tolist() == pytest.approx([judge.truth(OTHER), judge.truth(LONG)])

    second = spec(tmp_path / "second", left_by(first))
    again = begin(second, train=[PAIR], held_out=[SECOND])
    assert (again.cached, again.missing) == (4, 0)
    untouched = Judge()
    cached = again.complete(untouched)
    assert untouched.asked == []
    assert cached.digest() == computed.digest()
    assert events(second, "reference_sealed") == []


def test_of_examples_that_no_step_uses_nothing_is_asked_and_nothing_known(tmp_path: Path) -> None:
    run = spec(tmp_path / "part")
    parts = {"train": [PAIR, SECOND], "held_out": [SECOND]}
    search = ReferencePass(run, ALONE, Emitter(run.workspace, 0), parts, {"train": [0]})
    judge = Judge()
    assert search.missing == 4
    found = search.complete(judge)
    assert judge.asked == [LONG, SHORT, OTHER], "all that is held out, and the pair that is used"
    assert found.train[:2, 0].tolist() == pytest.approx([judge.truth(LONG), judge.truth(SHORT)])
    assert found.train[2:].isnan().all(), "no run can take it for a log-probability"
    later = begin(spec(tmp_path / "whole", left_by(run)), **parts)
    assert later.missing == 0


def test_what_is_left_belongs_to_the_file_of_records_it_came_from(tmp_path: Path) -> None:
    run = spec(tmp_path)
    begin(run, train=[PAIR], held_out=[SECOND], mismatched=[], held_out_mismatched=[]).complete(Judge())
    told = events(run, "reference_sealed")
    assert [(each["data_digest"], each["sequences"], each["key"]) for each in told] == [
        ("train-data", 2, KEY),
        ("eval-data", 1, KEY),
    ]
    for each in told:
        folder = tmp_path / each["path"]
        manifest.verify(folder, manifest.read(folder))


def test_only_what_is_missing_is_scored(tmp_path: Path) -> None:
    first = spec(tmp_path / "first")
    begin(first, train=[PAIR]).complete(Judge())
    search = begin(spec(tmp_path / "second", left_by(first)), train=[PAIR, SECOND])
    judge = Judge()
    assert (search.cached, search.missing) == (3, 1)
    values = search.complete(judge).train
    assert judge.asked == [OTHER]
    assert values[:, 0].tolist() == pytest.approx([judge.truth(each) for each in (LONG, SHORT, OTHER, LONG)])


def test_ld_takes_a_head_sum_only_with_the_head_it_was_taken_over(tmp_path: Path) -> None:
    """LONG beside SHORT shares 1 scored token, beside OTHER 2: for another head length it is scored again."""
    first = spec(tmp_path / "first", loss="ld")
    begin(first, train=[PAIR]).complete(Judge())
    same = begin(spec(tmp_path / "same", left_by(first), loss="ld"), train=[PAIR])
    assert same.missing == 0
    assert same.complete(Judge()).train[:, 1].tolist() == pytest.approx([-0.1, -0.1])
    judge = Judge()
    other = begin(spec(tmp_path / "other", left_by(first), loss="ld"), train=[SECOND])
    assert other.missing == 2
    assert other.complete(judge).train[:, 1].tolist() == pytest.approx([-0.2, -0.2])
    assert judge.asked == [OTHER, LONG]
    plain = begin(spec(tmp_path / "plain", left_by(first)), train=[SECOND])
    assert plain.missing == 1, "a loss that does not look at heads takes the sum"
    assert plain.complete(Judge()).train[:, 1].tolist() == [0, 0]


def test_a_list_of_three_is_found_again_as_pairs(tmp_path: Path) -> None:
    first = spec(tmp_path / "first", loss="plackett_luce")
    begin(first, train=[Example("l", 1, 1, (LONG, SHORT, OTHER))]).complete(Judge())
    pairs = [Example("p", 1, 1, (LONG, SHORT)), Example("q", 1, 1, (SHORT, OTHER))]
    assert begin(spec(tmp_path / "second", left_by(first)), train=pairs).missing == 0


def test_the_first_file_wins(tmp_path: Path) -> None:
    old, new = spec(tmp_path / "old"), spec(tmp_path / "new")
    begin(old, train=[PAIR]).complete(Judge(offset=-1))
    begin(new, train=[PAIR]).complete(Judge())
    found = begin(spec(tmp_path / "run", [*left_by(new), *left_by(old)]), train=[PAIR]).complete(Judge())
    assert found.train[0, 0].item() == pytest.approx(Judge().truth(LONG))


def test_what_contradicts_the_model_is_dropped_told_and_scored_once_more(tmp_path: Path) -> None:
    wrong = spec(tmp_path / "wrong")
    begin(wrong, train=[PAIR]).complete(Judge(offset=-1))
    run = spec(tmp_path / "run", left_by(wrong))
    search = begin(run, train=[PAIR, SECOND])
    first = Judge()
    search.complete(first)
    second = Judge()
    values = search.again(second)
    assert first.asked == [OTHER]
    assert second.asked == [LONG, SHORT], "what was scored live is right"
    assert values.train[:, 0].tolist() == pytest.approx([second.truth(e) for e in (LONG, SHORT, OTHER, LONG)])
    assert search.cached == 0
    assert [each["code"] for each in events(run, "warning")] == ["reference_cache_dropped"]
    assert len(left_by(run)) == 2, "and left for later runs, which find the newer one first"
    assert begin(spec(tmp_path / "later", left_by(run)), train=[PAIR, SECOND]).missing == 0


def damaged(kind: str, path: Path) -> None:
    tensors = load_file(path)
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[:-7])
    elif kind == "no safetensors":
        path.write_bytes(b"\x80\x04 pickle")
    elif kind == "not there":
        path.unlink()
    elif kind == "another key":
        save_file(tensors, path, metadata={"key": "other"})
    elif kind == "a tensor missing":
        del tensors["heads"]
        save_file(tensors, path, metadata={"key": KEY})
    else:
        changed = {
            "not finite": ("sums", torch.full((2,), float("nan"))),
            "fewer sums": ("sums", torch.zeros(1)),
            "another dtype": ("sums", torch.zeros(2, dtype=torch.float64)),
            "short digests": ("digests", torch.zeros(2, 16, dtype=torch.uint8)),
            "a scalar": ("digests", torch.zeros((), dtype=torch.uint8)),
        }[kind]
        save_file({**tensors, changed[0]: changed[1]}, path, metadata={"key": KEY})


@pytest.mark.parametrize(
    "kind",
    [
        "cut off",
        "no safetensors",
        "not there",
        "another key",
        "a tensor missing",
        "not finite",
        "fewer sums",
        "another dtype",
        "short digests",
        "a scalar",
    ],
)
def test_a_damaged_file_is_a_warning_and_a_miss(tmp_path: Path, kind: str) -> None:
    first = spec(tmp_path / "first")
    begin(first, train=[PAIR]).complete(Judge())
    damaged(kind, left_by(first)[0])
    run = spec(tmp_path / "second", left_by(first))
    search = begin(run, train=[PAIR])
    assert search.missing == 2
    assert search.complete(Judge()).train[0, 0].item() == pytest.approx(Judge().truth(LONG))
    assert [each["code"] for each in events(run, "warning")] == ["reference_entry_unusable"]


def test_a_number_that_is_not_finite_names_the_line_and_is_not_kept(tmp_path: Path) -> None:
    run = spec(tmp_path)
    with pytest.raises(BadModel, match=r"line 4; 1 of 3 answers") as refused:
        begin(run, train=[PAIR, SECOND]).complete(
            lambda examples: torch.tensor([[-1.0, -1.0], [-1.0, -1.0], [float("nan"), -1.0]])
        )
    assert refused.value.code == "non_finite_logps"
    assert left_by(run) == []


def test_a_full_disk_costs_the_cache_and_not_the_run(tmp_path: Path) -> None:
    run = spec(tmp_path)
    (tmp_path / "reference").write_text("a file where a folder should be")
    assert begin(run, train=[PAIR]).complete(Judge()).train.shape == (2, 2)
    assert [each["code"] for each in events(run, "warning")] == ["reference_not_kept"]


def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    run = spec(tmp_path, key="")
    begin(run, train=[PAIR]).complete(Judge())
    assert events(run, "reference_sealed") == []


def test_the_digest_of_an_answer_sees_ids_and_spans() -> None:
    some = [LONG, SHORT, answer(1, 2, 3, 4, 5, scored=2), Answer((1, 2, 3), ((4, 5),)), Answer((1, 2, 3, 4, 5), ())]
    assert len({reference_file.digest(each) for each in some}) == len(some)


def test_the_key_sees_model_precision_and_scorer() -> None:
    assert len({KEY, reference_key("model", "bf16"), reference_key("other", "fp32")}) == 3


def test_a_reference_goes_through_its_parts() -> None:
    made = Reference(torch.rand(4, 2), torch.rand(2, 2))
    assert Reference(**made.parts()).digest() == made.digest()
    assert without_reference({"train": [PAIR], "held_out": []}).train.tolist() == [[0, 0], [0, 0]]
