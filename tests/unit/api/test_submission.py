"""From a body to a JobSpec, or to one sentence on what to mend."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.submission import job_spec
from core.contract.errors import BadInput

BASE = {"model": "m", "training_file": "f"}


def dpo(**hyperparameters: Any) -> dict[str, Any]:
    return BASE | {"method": {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}}


AT = "method.dpo.hyperparameters"


@pytest.mark.parametrize(
    ("body", "code", "param", "says"),
    [
        ([], "invalid_type", "body", "object"),
        ({}, "missing_required_parameter", "model", "'model'"),
        (BASE | {"modle": 1}, "unknown_parameter", "modle", "Did you mean 'model'?"),
        (BASE | {"beta": 0.1}, "unknown_parameter", "beta", f"Did you mean '{AT}.beta'?"),
        (dpo(btea=0.1), "unknown_parameter", f"{AT}.btea", f"Did you mean '{AT}.beta'?"),
        (BASE | {"zzzzzz": 1}, "unknown_parameter", "zzzzzz", "Unknown parameter: 'zzzzzz'."),
        (dpo(beta=0), "out_of_range", f"{AT}.beta", "greater than 0"),
        (dpo(beta="x"), "invalid_type", f"{AT}.beta", "a number or 'auto'"),
        (dpo(beta=True), "invalid_type", f"{AT}.beta", "a number or 'auto'"),
        (dpo(beta=10**400), "invalid_type", f"{AT}.beta", "a number or 'auto'"),
        (dpo(n_epochs=1.5), "invalid_type", f"{AT}.n_epochs", "an integer or 'auto'"),
        (dpo(n_epochs=51), "out_of_range", f"{AT}.n_epochs", "at most 50"),
        (dpo(lr_schedule="x"), "invalid_value", f"{AT}.lr_schedule", "'cosine'"),
        (BASE | {"method": {"type": "supervised", "supervised": {}}}, "unsupported_method", "method.type", "dpo"),
        (BASE | {"method": {}}, "missing_required_parameter", "method.type", "method.type"),
        (BASE | {"method": "dpo"}, "invalid_type", "method", "an object"),
        (BASE | {"metadata": {"a": 1}}, "invalid_type", "metadata.a", "a string"),
        (BASE | {"metadata": {str(n): "" for n in range(17)}}, "out_of_range", "metadata", "16"),
        (BASE | {"palate": {"probe_prompts": ["a", ""]}}, "out_of_range", "palate.probe_prompts.1", "at least 1"),
        (BASE | {"palate": {"resources": {"nodes": 2}}}, "unsupported_resources", "palate.resources.nodes", "one node"),
        (BASE | {"seed": -1}, "out_of_range", "seed", "at least 0"),
        (BASE | {"palate": {"eval": {"split": 0.6}}}, "out_of_range", "palate.eval.split", "at most 0.5"),
        (
            BASE | {"validation_file": "v", "palate": {"eval": {"split": 0.1}}},
            "setting_not_used",
            "palate.eval.split",
            "validation_file",
        ),
        (dpo(loss="ipo", ties="half"), "setting_not_used", f"{AT}.ties", "sigmoid_norm"),
        (dpo(annotators="all"), "invalid_value", f"{AT}.annotators", "'confidence'"),
    ],
)
def test_what_is_said(body: Any, code: str, param: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        job_spec(body)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert says in refused.value.message


def test_what_is_taken() -> None:
    assert job_spec(dpo(beta=1, n_epochs="auto") | {"metadata": None}).dpo().beta == 1.0
    assert job_spec(BASE | {"validation_file": "v", "palate": {"eval": {"split": 0}}}).palate.eval.split == 0


KEYS = st.sampled_from(
    ["model", "training_file", "method", "type", "dpo", "hyperparameters", "beta", "palate", "x", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_is_sent_there_is_one_answer(value: Any, more: dict[str, Any]) -> None:
    for body in (value, BASE | more):
        with suppress(BadInput):
            job_spec(body)


def test_a_long_key_is_not_echoed_whole() -> None:
    with pytest.raises(BadInput) as refused:
        job_spec(BASE | {"x" * 100_000: 1})
    assert len(refused.value.message) < 1000
