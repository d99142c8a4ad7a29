"""A run that ends before its first epoch takes the reference of, and judges, what its steps train on, and no more."""

from pathlib import Path
from typing import Any

import pytest

from core.contract import manifest
from core.contract.run_spec import ResumeFrom, RunSpec
from tests.launch import Run, alone

pytestmark = pytest.mark.xdist_group("ranks")
HELD_OUT = 7


def launched(spec: RunSpec, workspace: Path, changed: dict[str, Any], **update: Any) -> Run:
    settings = spec.settings.model_copy(update=changed)
    update = {"workspace": workspace, "probe_prompts": [], "world_size": 1, "settings": settings, **update}
    with alone():
        run = Run(spec.model_copy(update=update))
        assert run.code() == 0, run.logs()
    return run


def losses(run: Run) -> dict[int, float]:
    return {event["step"]: event["metrics"]["loss"] for event in run.events("step")}


def test_only_what_the_steps_use_is_scored_and_judged_and_a_resumed_run_uses_the_same(
    spec: RunSpec, straight: Run, tmp_path: Path
) -> None:
    """4 steps of 8 pairs: 32 of 38. A resume point holds their reference, and going on gives the same bits."""
    whole = launched(spec, tmp_path / "whole", {"max_steps": 4}, resume_steps=2)
    told = whole.events("started")[0]["details"]
    assert (told["used_examples"], told["reference_forwards"]) == (32, 2 * (32 + HELD_OUT))
    (judged,) = whole.events("judged")
    assert (judged["examples"], judged["of"]) == (32, 38)
    assert {each["code"]: each["detail"]["pairs"] for each in judged["findings"]} == {
        "reference_agreement": 32,
        "suspected_flips": 32,
        "off_policy_distance": 32,
    }
    before = straight.events("step")[0]["metrics"]["loss"]
    assert losses(whole)[1] == pytest.approx(before, abs=1e-5), "as with all of them scored"
    point = whole.spec.workspace / whole.events("resume_point_sealed")[0]["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    rest = launched(spec, tmp_path / "rest", {"max_steps": 4}, resume_from=source)
    assert rest.events("started")[0]["details"]["reference_forwards"] == 0
    assert not rest.events("warning")
    assert losses(rest) == {step: loss for step, loss in losses(whole).items() if step > 2}


def test_a_whole_epoch_uses_everything(straight: Run) -> None:
    told = straight.events("started")[0]["details"]
    assert (told["used_examples"], told["reference_forwards"]) == (38, 2 * (38 + HELD_OUT))
    (judged,) = straight.events("judged")
    assert (judged["examples"], judged["of"]) == (38, 38)


def test_of_single_answers_the_mismatched_ones_are_scored_with_those_that_are_used(
    spec: RunSpec, tmp_path: Path
) -> None:
    """2 steps of 8 of the 76 single answers, and as many of those that stand behind another prompt."""
    own = {"loss": "kto", "max_steps": 2, "label_smoothing": 0.0, "nll_weight": 0.0}
    run = launched(spec, tmp_path / "kto", own)
    told = run.events("started")[0]["details"]
    assert (told["used_examples"], told["reference_forwards"]) == (16, 2 * 16 + 2 * 2 * HELD_OUT)
    first = run.events("step")[0]["metrics"]
    assert first["kl"] == pytest.approx(0.0, abs=1e-4), "the policy is the reference"
