"""The words between processes."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.contract import manifest as manifests
from core.contract.job_spec import JobSpec
from core.contract.manifest import ManifestMismatch
from core.contract.states import JOB_MOVES, TERMINAL, JobState


def test_terminal_is_for_ever_and_every_state_can_end() -> None:
    assert all(not JOB_MOVES[state] for state in TERMINAL)
    reachable = {state: set(JOB_MOVES[state]) for state in JobState}
    for _ in JobState:
        for state in JobState:
            reachable[state] |= {further for target in set(reachable[state]) for further in reachable[target]}
    assert all(TERMINAL & reachable[state] for state in JobState if state not in TERMINAL)


@pytest.mark.parametrize("damage", ["missing", "longer", "flipped"])
def test_a_damaged_folder_does_not_verify(tmp_path: Path, damage: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "sub" / "b").write_bytes(b"two")
    manifest = manifests.build(tmp_path, step=3)
    manifests.write(tmp_path, manifest)
    manifests.verify(tmp_path, manifests.read(tmp_path))
    assert [entry.path for entry in manifest.files] == ["a", "sub/b"]
    match damage:
        case "missing":
            (tmp_path / "sub" / "b").unlink()
        case "longer":
            (tmp_path / "sub" / "b").write_bytes(b"two!")
        case "flipped":
            (tmp_path / "sub" / "b").write_bytes(b"twp")
    with pytest.raises(ManifestMismatch, match="sub/b"):
        manifests.verify(tmp_path, manifest)


def test_the_digest_names_the_content_not_the_meta(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    assert manifests.build(tmp_path, step=1).digest() == manifests.build(tmp_path, step=2).digest()


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "training_file": "f", "seed": -1},
        {"model": "m", "training_file": "f", "seed": True},
        {"model": "m", "training_file": "f", "metadata": {str(n): "v" for n in range(17)}},
        {"model": "m", "training_file": "f", "suffix": "a:b"},
        {"model": "m", "training_file": "f", "palate": {"probe_prompts": ["x"] * 9}},
        {"model": "m", "training_file": "f", "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}},
        {"model": "m", "training_file": "f", "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": "0.1"}}}},
        {"model": "m", "training_file": "f", "colour": "blue"},
    ],
)
def test_a_job_out_of_bounds_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(body)


def test_integers_serve_where_numbers_are_asked_for() -> None:
    hyper = {"beta": 1, "n_epochs": 2}
    spec = JobSpec.model_validate(
        {"model": "m", "training_file": "f", "method": {"type": "dpo", "dpo": {"hyperparameters": hyper}}}
    )
    assert spec.dpo().beta == 1.0
