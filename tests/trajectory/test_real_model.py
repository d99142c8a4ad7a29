"""A real language model: the same run on one rank and on two, whole and cut in two; every gate on, none refuses."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from core.contract import manifest
from core.contract.run_spec import Lora, ResumeFrom, RunSpec, Settings
from tests.launch import alone
from tests.pairs import make_records, write_records
from tests.support import warm
from tests.support.real_model import real_model
from tests.trajectory.conftest import weights

pytestmark = [pytest.mark.xdist_group("ranks"), pytest.mark.slow, pytest.mark.timeout(1800)]
STEPS = 3
SECONDS = 600.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with alone(), warm.node(tmp_path_factory.mktemp("node")):
        yield


@pytest.fixture(params=list(product(("fp32", "bf16"), (False, True))), ids=lambda cell: f"{cell[0]}-lora-{cell[1]}")
def spec(request: pytest.FixtureRequest, node: None, tmp_path: Path) -> RunSpec:
    """Three steps of two pairs, and a held-out one."""
    precision, lora = request.param
    return RunSpec(
        run_id="real",
        workspace=tmp_path / "whole",
        model_dir=real_model(),
        model_digest="smollm2",
        train_data=tmp_path / "train.zst",
        train_digest=write_records(tmp_path / "train.zst", make_records(2 * STEPS)),
        eval_data=tmp_path / "held_out.zst",
        eval_digest=write_records(tmp_path / "held_out.zst", make_records(1, seed=1)),
        seed=3,
        settings=Settings(
            learning_rate=1e-5 if lora else 1e-6,
            batch_size=2,
            max_steps=STEPS,
            precision=precision,
            lora=Lora() if lora else None,
        ),
        row_tokens=1024,
        export=["adapter", "model"] if lora else ["model"],
    )


def test_one_rank_and_two_and_cut_in_two(spec: RunSpec, tmp_path: Path) -> None:
    whole = warm.run(spec, SECONDS)
    assert whole.code == 0, whole.reason
    assert whole.of("started")[0]["layout"] == "shared"
    losses = [event["metrics"]["loss"] for event in whole.of("step")]

    two = warm.run(spec.model_copy(update={"workspace": tmp_path / "two", "world_size": 2}), SECONDS)
    assert two.code == 0, two.reason
    near = 1e-4 if spec.settings.precision == "fp32" else 2e-2
    assert [event["metrics"]["loss"] for event in two.of("step")] == pytest.approx(losses, abs=near)

    cut = {"workspace": tmp_path / "cut", "resume_steps": 1, "checkpoint_steps": 100}
    first = warm.run(spec.model_copy(update=cut), SECONDS)
    assert first.code == 0, first.reason
    # Two are kept, of an adapter also the one at the end.
    point = next(
        tmp_path / "cut" / each["path"] for each in first.of("resume_point_sealed") if each["step"] == STEPS - 1
    )
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    rest = warm.run(spec.model_copy(update={"workspace": tmp_path / "rest", "resume_from": source}), SECONDS)
    assert rest.code == 0, rest.reason
    assert [event["metrics"]["loss"] for event in rest.of("step")] == losses[STEPS - 1 :]
    assert weights(tmp_path / "rest", STEPS) == weights(spec.workspace, STEPS)
