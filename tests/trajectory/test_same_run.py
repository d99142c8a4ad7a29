"""What must not change a run: how many ranks share it, how its batches are cut, and that it was interrupted."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from core.contract import manifest
from core.contract.run_spec import ResumeFrom, RunSpec, Settings
from tests.launch import Run, alone
from tests.models import CHAT_TEMPLATE, make_tiny_model
from tests.pairs import make_records, write_records
from tests.trajectory.conftest import weights

pytestmark = pytest.mark.xdist_group("ranks")


def test_one_rank_and_one_micro_batch(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    """2 ranks x 2 pairs x 2 accumulated = 1 rank x 8 at once."""
    with alone():
        run = Run(spec.model_copy(update={"workspace": tmp_path, "world_size": 1, "row_tokens": 10_000}))
        assert run.code() == 0, run.logs()
    for kind in ("step", "eval"):
        for mine, other in zip(run.events(kind), straight.events(kind), strict=True):
            for name in ("loss", "nll_loss", "rewards/margins", "logps/chosen", "grad_norm"):
                key = f"eval/{name}" if kind == "eval" else name
                if key in mine["metrics"]:
                    assert mine["metrics"][key] == pytest.approx(other["metrics"][key], rel=1e-4, abs=2e-5), (
                        kind,
                        mine["step"],
                        key,
                    )
    assert run.events("step")[-1]["tokens"] == straight.events("step")[-1]["tokens"]
    (mine,), (other,) = (each.events("judged") for each in (run, straight))
    for found, same in zip(mine["findings"], other["findings"], strict=True):
        assert (found["code"], found["count"]) == (same["code"], same["count"])
        assert found["value"] == pytest.approx(same["value"], abs=1e-3)


def test_drained_and_resumed_is_the_straight_run_bit_by_bit(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    with alone():
        first = Run(spec.model_copy(update={"workspace": tmp_path / "first"}))
        first.wait_for("step", step=2)
        (first.spec.workspace / "stop").write_text("drain")
        assert first.code() == 10, first.logs()
        assert first.events()[-1]["event"] == "stopped"
        sealed = first.events("resume_point_sealed")[-1]
        assert sealed["step"] == first.events()[-1]["step"] < 20
        point = first.spec.workspace / sealed["path"]
        source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
        second = Run(spec.model_copy(update={"workspace": tmp_path / "second", "resume_from": source}))
        assert second.code() == 0, second.logs()
    assert second.events("started")[0]["resumed_from_step"] == sealed["step"]
    assert not second.events("warning")
    told = [event["metrics"]["loss"] for run in (first, second) for event in run.events("step")]
    assert told == [event["metrics"]["loss"] for event in straight.events("step")]
    assert weights(second.spec.workspace, 20) == weights(spec.workspace, 20)


@pytest.mark.slow
def test_a_resume_point_of_other_tokens_is_told_of_and_left(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    """As a version of the trainer would have left it that renders otherwise."""
    with alone():
        first = Run(spec.model_copy(update={"workspace": tmp_path / "first"}))
        first.wait_for("step", step=2)
        (first.spec.workspace / "stop").write_text("drain")
        assert first.code() == 10, first.logs()
        point = first.spec.workspace / first.events("resume_point_sealed")[-1]["path"]
        written = manifest.read(point)
        other = written.model_copy(update={"meta": {**written.meta, "tokens": "0" * 64}})
        (point / "manifest.json").write_text(other.model_dump_json())
        source = ResumeFrom(path=point, manifest_digest=other.digest())
        second = Run(spec.model_copy(update={"workspace": tmp_path / "second", "resume_from": source}))
        assert second.code() == 0, second.logs()
    assert second.events("started")[0]["resumed_from_step"] == 0
    assert [event["code"] for event in second.events("warning")] == ["resume_point_of_other_tokens"]
    assert weights(second.spec.workspace, 20) == weights(spec.workspace, 20)


def test_a_template_that_tells_the_time_tells_every_attempt_the_same(spec: RunSpec, tmp_path: Path) -> None:
    """To the second, and these start seconds apart; what the run was told is in its first word and in the manifest. And
    the template ends its turns by a token that the model's folder does not name."""
    template = "{{ strftime_now('%d %H %M %S') }}" + CHAT_TEMPLATE.replace("<|end|>", "<|system|>")
    model = make_tiny_model(tmp_path / "model", template=template)
    data = tmp_path / "data.zst"
    update = {"train_data": data, "train_digest": write_records(data, make_records(8)), "model_dir": model}
    update |= {"eval_data": None, "eval_digest": None, "world_size": 1, "settings": Settings(batch_size=8)}
    first = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    made = []
    for name, clock in (("one", first), ("two", first.astimezone(timezone(timedelta(hours=9))))):
        with alone():
            run = Run(spec.model_copy(update=update | {"workspace": tmp_path / name, "clock": clock}))
            assert run.code() == 0, run.logs()
        assert run.events("started")[0]["details"]["clock"] == "2026-02-03T04:05:06"
        assert manifest.read(tmp_path / name / "checkpoints" / "step-1").meta["clock"] == "2026-02-03T04:05:06"
        made.append((weights(run.spec.workspace, 1), run.events("step")[0]["metrics"]["logps/chosen"]))
    assert made[0] == made[1]


def test_more_ranks_than_pairs_in_bf16(spec: RunSpec, tmp_path: Path) -> None:
    """A rank with nothing to do keeps in step; untied weights; a batch of two pairs on three ranks."""
    data, model = tmp_path / "two.zst", make_tiny_model(tmp_path / "model", tie=False)
    digest = write_records(data, make_records(2))
    settings = Settings(batch_size=2, n_epochs=3, learning_rate=1e-3, precision="bf16")
    update = {"train_data": data, "train_digest": digest, "eval_data": None, "eval_digest": None, "model_dir": model}
    update |= {"workspace": tmp_path / "run", "world_size": 3, "settings": settings, "probe_prompts": []}
    with alone():
        run = Run(spec.model_copy(update=update))
        assert run.code() == 0, run.logs()
    losses = [event["metrics"]["loss"] for event in run.events("step")]
    assert losses[-1] < losses[0] == pytest.approx(math.log(2), abs=5e-3)
    config = json.loads((tmp_path / "run" / "checkpoints" / "step-3" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
