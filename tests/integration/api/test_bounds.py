"""Every number that a job may name, beyond its bounds and of another type: refused, by its path, in words that help."""

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from core.contract.choice import AT
from core.contract.job_spec import JobSpec
from tests.integration.api.conftest import Tenant, error_of

JSON = {"content-type": "application/json"}
HUGE = 10**30
# Of each setting: values that are just taken, then values that are just not.
NUMBERS: dict[str, tuple[list[float], list[float]]] = {
    "seed": ([0, 2**31 - 1], [-1, 2**31]),
    f"{AT}.beta": ([1e-6, 100], [0, -0.1, 100.1]),
    f"{AT}.batch_size": ([1, 256], [0, -1, 257]),
    f"{AT}.n_epochs": ([1, 50], [0, -1, 51]),
    f"{AT}.learning_rate_multiplier": ([1e-9, 1000], [0, -1, 1000.1]),
    f"{AT}.learning_rate": ([1e-12, 1], [0, -1e-6, 1.1]),
    f"{AT}.warmup_ratio": ([0, 1], [-0.1, 1.1]),
    f"{AT}.weight_decay": ([0, 1], [-0.1, 1.1]),
    f"{AT}.max_grad_norm": ([0, 1000], [-0.1, 1000.1]),
    f"{AT}.max_steps": ([1, 1_000_000], [0, -1, 1_000_001]),
    f"{AT}.label_smoothing": ([0, 0.5], [-0.1, 0.51, 1]),
    f"{AT}.nll_weight": ([0, 100], [-0.1, 100.1]),
    f"{AT}.margin_weight": ([0, 100], [-0.1, 100.1]),
    f"{AT}.simpo_gamma_ratio": ([0, 100], [-0.1, 100.1]),
    f"{AT}.ld_alpha": ([0, 1], [-0.1, 1.1]),
    f"{AT}.dpop_lambda": ([0, 1000], [-0.1, 1000.1]),
    f"{AT}.orpo_lambda": ([1e-6, 100], [0, -0.1, 100.1]),
    f"{AT}.desirable_weight": ([0, 1000], [-0.1, 1000.1]),
    f"{AT}.undesirable_weight": ([0, 1000], [-0.1, 1000.1]),
    f"{AT}.max_length": ([16, 1_048_576], [15, 0, -1, 1_048_577]),
    f"{AT}.lora.r": ([1, 1024], [0, -1, 1025]),
    f"{AT}.lora.alpha": ([1e-6, 4096], [0, -1, 4096.1]),
    f"{AT}.lora.dropout": ([0, 0.99], [-0.1, 1]),
    "hyperparameters.batch_size": ([1, 256], [0, 257]),
    "hyperparameters.n_epochs": ([1, 50], [0, 51]),
    "hyperparameters.learning_rate_multiplier": ([1e-9, 1000], [0, 1000.1]),
    "palate.resources.gpus": ([1, 64], [0, -1, 65]),
    "palate.priority": ([-100, 100], [-101, 101]),
    "palate.max_runtime_seconds": ([1, 31_536_000], [0, -1, 31_536_001]),
    "palate.checkpoint.every_steps": ([1, 1_000_000], [0, -1, 1_000_001]),
    "palate.checkpoint.keep": ([1, 100], [0, 101]),
    "palate.eval.every_steps": ([1, 1_000_000], [0, -1, 1_000_001]),
    "palate.eval.split": ([0, 0.5], [-0.01, 0.51]),
}
NO_AUTO = ("seed", "palate.priority", "palate.max_runtime_seconds", "palate.checkpoint.keep")
# `nodes` has one value for now, and a code of its own (test_jobs).
ELSEWHERE = {"palate.resources.nodes"}
LOSS_OF = {
    "simpo_gamma_ratio": "simpo",
    "ld_alpha": "ld",
    "dpop_lambda": "dpop",
    "orpo_lambda": "orpo",
    "desirable_weight": "kto",
    "undesirable_weight": "kto",
}
WORDS = ("at least", "at most", "greater than", "less than")


def parts(annotation: Any) -> Iterator[Any]:
    """The plain types within unions and `Annotated`."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for inner in get_args(annotation):
            yield from parts(inner)
    else:
        yield annotation


def numbers(model: type[BaseModel], folder: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        for part in parts(field.annotation):
            if part in (int, float):
                yield folder + name
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from numbers(part, f"{folder}{name}.")


def test_no_number_is_forgotten() -> None:
    assert set(numbers(JobSpec)) == set(NUMBERS) | ELSEWHERE


def body(path: str, value: Any) -> str:
    """A job of a model that nobody has: what is taken gets as far as that."""
    wanted: dict[str, Any] = {"model": "nobody", "training_file": "file-nobody"}
    *folders, name = path.split(".")
    here = wanted
    for folder in folders:
        here = here.setdefault(folder, {})
    here[name] = value
    if "method" in wanted:
        wanted["method"]["type"] = "dpo"
        if name in LOSS_OF:
            wanted["method"]["dpo"]["hyperparameters"]["loss"] = LOSS_OF[name]
    return json.dumps(wanted)


def error(tenant: Tenant, path: str, value: Any) -> dict[str, Any]:
    """Of creating the job; the same of planning it."""
    urls = [f"/v1/fine_tuning/{verb}" for verb in ("jobs", "plan")]
    answers = [tenant.http.post(url, content=body(path, value), headers=JSON) for url in urls]
    assert [each.status_code for each in answers] == [400, 400], value
    first, second = (error_of(each) for each in answers)
    assert first == second
    return first


@pytest.mark.parametrize("path", NUMBERS)
def test_a_number_has_bounds(tenant: Tenant, path: str) -> None:
    taken, refused = NUMBERS[path]
    for value in (*taken, "auto" if path not in NO_AUTO else taken[0]):
        assert error(tenant, path, value)["code"] == "model_not_found", value
    for value in (*refused, HUGE, -HUGE):
        found = error(tenant, path, value)
        assert (found["code"], found["param"]) == ("out_of_range", path), value
        assert any(word in found["message"] for word in WORDS)
        assert path.rpartition(".")[2] in found["message"]


@pytest.mark.parametrize("path", NUMBERS)
def test_a_number_is_a_number(tenant: Tenant, path: str) -> None:
    for value in ("high", "1", True, [1], {"is": 1}):
        found = error(tenant, path, value)
        assert (found["code"], found["param"]) == ("invalid_type", path), value
        assert "must be a" in found["message"]
    for value in (float("nan"), float("inf"), float("-inf")):
        assert error(tenant, path, value)["code"] == "invalid_json"


@pytest.mark.parametrize("name", ["loss", "lr_schedule", "truncation", "precision", "optimizer"])
def test_a_word_is_one_of_those_that_are_known(tenant: Tenant, name: str) -> None:
    for value in ("", "Auto", "x" * 100_000, 7, None, ["auto"]):
        found = error(tenant, f"{AT}.{name}", value)
        assert (found["code"], found["param"]) == ("invalid_value", f"{AT}.{name}"), value
        assert "'auto'" in found["message"]
