"""A finding that blocks refuses a job by its code, unless the user accepts that code; other findings never do."""

import pytest

from core.contract import gate
from core.contract.errors import BadInput
from core.contract.findings import CHECKS, finding

BLOCKS = [
    finding("contradictions", 0.032, count=32, share=0.032),
    finding("secrets", 0.001, count=1, share=0.001),
    finding("exact_duplicates", 0.9, count=900, share=0.9),
]
CHECKED = [each.model_dump(mode="json") for each in BLOCKS]


def test_only_findings_that_block_stand_in_the_way() -> None:
    assert [each.code for each in gate.blocking(CHECKED)] == ["contradictions", "secrets"]
    assert gate.blocking([]) == []


def test_what_is_accepted_is_told_apart() -> None:
    refused, accepted = gate.split(gate.blocking(CHECKED), ["secrets", "cycles"])
    assert ([each.code for each in refused], [each.code for each in accepted]) == (["contradictions"], ["secrets"])
    assert gate.split(gate.blocking(CHECKED), list(CHECKS))[0] == []


def test_of_held_out_data_only_what_spoils_its_figures_stands_in_the_way() -> None:
    found = [*gate.blocking(CHECKED), finding("train_validation_leakage", 0.1), finding("truncation", 0.9)]
    assert gate.of(found, "training_file") == found
    told = [each.code for each in gate.of(found, "validation_file")]
    assert told == ["contradictions", "train_validation_leakage"]


def test_a_refusal_says_what_is_wrong_what_to_do_and_how_to_accept_all_of_it() -> None:
    error = gate.refusal(gate.blocking(CHECKED), source="File file-1", param="training_file")
    assert (error.code, error.param) == ("contradictions", "training_file")
    assert "contradictions (32 records, 3.2%), secrets (1 records, 0.1%)" in error.message
    assert "Decide each listed prompt one way" in error.message
    assert 'palate.accept = ["contradictions", "secrets"]' in error.message


@pytest.mark.parametrize(
    ("codes", "param", "word"),
    [
        (["contradiction"], "palate.accept.0", "Did you mean 'contradictions'?"),
        (["secrets", "block"], "palate.accept.1", "cycles"),
    ],
)
def test_an_unknown_code_is_refused(codes: list[str], param: str, word: str) -> None:
    with pytest.raises(BadInput) as refused:
        gate.check_accepted(codes)
    assert refused.value.param == param
    assert word in refused.value.message


def test_every_code_may_be_accepted() -> None:
    gate.check_accepted(list(CHECKS))
