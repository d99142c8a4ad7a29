"""One straight run of 20 steps on two ranks, which the other tests compare with."""

from pathlib import Path

import pytest

from core.contract.run_spec import RunSpec, Settings
from tests.launch import Run, alone
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    """38 pairs in batches of 8: the last batch of an epoch has 6, and micro-batches of 2 leave dummy rows."""
    base = tmp_path_factory.mktemp("trajectory")
    return RunSpec(
        run_id="trajectory",
        workspace=base / "straight",
        model_dir=make_tiny_model(base / "model"),
        model_digest="tiny",
        train_data=base / "train.zst",
        train_digest=write_records(base / "train.zst", make_records(38)),
        eval_data=base / "held_out.zst",
        eval_digest=write_records(base / "held_out.zst", make_records(7, seed=1)),
        world_size=2,
        seed=3,
        settings=Settings(
            learning_rate=3e-4, batch_size=8, n_epochs=4, label_smoothing=0.1, nll_weight=0.2, weight_decay=0.01
        ),
        row_tokens=160,
        probe_prompts=["tell me a story", "why"],
        shard_bytes=100_000,
    )


@pytest.fixture(scope="session")
def straight(spec: RunSpec) -> Run:
    """No rank unpickles what another tells it."""
    with alone():
        run = Run(spec, program=("-m", "tests.plain_trainer"))
        assert run.code() == 0, run.logs()
    return run


def weights(workspace: Path, step: int) -> dict[str, str]:
    """sha256 of each file of a checkpoint."""
    from core.contract import manifest

    return {entry.path: entry.sha256 for entry in manifest.read(workspace / "checkpoints" / f"step-{step}").files}
