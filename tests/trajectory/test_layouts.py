"""Layouts, ranks, references, adapters and losses that must not change a run, as stored trajectories of one launch."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.contract import manifest
from core.contract.reference import reference_key
from core.contract.run_spec import Lora, ResumeFrom, RunSpec
from tests.launch import Run, alone

pytestmark = pytest.mark.xdist_group("ranks")
NAMES = ("loss", "nll_loss", "rewards/margins", "logps/chosen", "grad_norm")


def launched(spec: RunSpec, workspace: Path, **update: Any) -> Run:
    with alone():
        run = Run(spec.model_copy(update={"workspace": workspace, "probe_prompts": [], **update}))
        assert run.code() == 0, run.logs()
    return run


def same(run: Run, other: Run) -> None:
    """Every figure of every step and evaluation."""
    for kind, prefix in (("step", ""), ("eval", "eval/")):
        for mine, theirs in zip(run.events(kind), other.events(kind), strict=True):
            for name in NAMES:
                if prefix + name in mine["metrics"]:
                    assert mine["metrics"][prefix + name] == pytest.approx(
                        theirs["metrics"][prefix + name], rel=1e-4, abs=3e-5
                    ), (kind, mine["step"], name)


def test_packed_and_padded_are_the_shared_run(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    assert straight.events("started")[0]["layout"] == "shared"
    for layout in ("packed", "padded"):
        run = launched(spec, tmp_path / layout, layout=layout)
        assert run.events("started")[0]["layout"] == layout
        same(run, straight)


@pytest.mark.slow
def test_three_ranks(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    same(launched(spec, tmp_path, world_size=3, row_tokens=90), straight)


@pytest.mark.parametrize("lora", [None, pytest.param(Lora(r=4), marks=pytest.mark.slow)])
def test_layers_computed_again_change_nothing(spec: RunSpec, tmp_path: Path, lora: Lora | None) -> None:
    settings = spec.settings.model_copy(update={"lora": lora, "n_epochs": 1, "learning_rate": 1e-3})
    told = []
    for recompute in (False, True):
        run = launched(spec, tmp_path / str(recompute), settings=settings, recompute=recompute)
        assert run.events("started")[0]["details"]["recompute"] is recompute
        told.append([event["metrics"][name] for event in run.events("step") for name in ("loss", "grad_norm")])
    assert told[0] == pytest.approx(told[1], abs=1e-6)


def test_a_second_run_takes_the_reference_of_the_first(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    """0 reference forwards, on another number of ranks; the same losses as with a live reference."""
    key = reference_key(spec.model_digest, "fp32")
    first = launched(spec, tmp_path / "first", reference_key=key)
    entries = [
        tmp_path / "first" / event["path"] / manifest.read(tmp_path / "first" / event["path"]).files[0].path
        for event in first.events("reference_sealed")
    ]
    second = launched(spec, tmp_path / "second", reference_key=key, reference_entries=entries, world_size=1)
    details = second.events("started")[0]["details"]
    assert details["reference_forwards"] == 0
    assert details["reference_cached"] == 2 * (38 + 7)
    assert not [event for event in second.events("phase") if event["phase"] == "reference_pass"]
    assert not second.events("reference_sealed")
    same(second, straight)


@pytest.mark.slow
def test_a_reference_that_lies_is_dropped_and_told(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    """Gate B, made to fail: every stored sum is off by half a nat."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    key = reference_key(spec.model_digest, "fp32")
    first = launched(spec, tmp_path / "first", reference_key=key, world_size=1)
    folder = tmp_path / "first" / first.events("reference_sealed")[0]["path"]
    entry = folder / manifest.read(folder).files[0].path
    with safe_open(entry, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(entry)
    tensors["sums"] = tensors["sums"] + 0.5
    save_file(tensors, tmp_path / "lie.safetensors", metadata)
    run = launched(
        spec, tmp_path / "second", reference_key=key, reference_entries=[tmp_path / "lie.safetensors"], world_size=1
    )
    assert [event["code"] for event in run.events("warning")] == ["reference_cache_dropped"]
    same(run, straight)


def test_resumed_on_another_number_of_ranks(spec: RunSpec, straight: Run, tmp_path: Path) -> None:
    with alone():
        first = Run(spec.model_copy(update={"workspace": tmp_path / "first", "probe_prompts": [], "resume_steps": 4}))
        first.wait_for("resume_point_sealed")
        (first.spec.workspace / "stop").write_text("drain")
        assert first.code() == 10, first.logs()
    sealed = first.events("resume_point_sealed")[-1]
    point = first.spec.workspace / sealed["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    for ranks in (1, 3):
        run = launched(spec, tmp_path / f"on-{ranks}", world_size=ranks, resume_from=source)
        assert [event["code"] for event in run.events("warning")] == ["resume_other_world_size"]
        expected = {event["step"]: event["metrics"]["loss"] for event in straight.events("step")}
        found = {event["step"]: event["metrics"]["loss"] for event in run.events("step")}
        assert min(found) == sealed["step"] + 1
        assert found == pytest.approx({step: expected[step] for step in found}, abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT asks for it
def test_an_adapter(spec: RunSpec, tmp_path: Path) -> None:
    """LoRA on one rank and on two; both exports reload and score as the engine; B = 0 is the reference."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    settings = spec.settings.model_copy(update={"lora": Lora(r=4, alpha=8.0), "learning_rate": 3e-3, "n_epochs": 2})
    runs = [
        launched(spec, tmp_path / f"ranks-{ranks}", settings=settings, export=["model", "adapter"], world_size=ranks)
        for ranks in (2, 1)
    ]
    same(*runs)
    first, last = runs[0].events("step")[0]["metrics"], runs[0].events("step")[-1]["metrics"]
    assert max(abs(first["rewards/chosen"]), abs(first["rewards/rejected"])) < 1e-5
    assert last["loss"] < first["loss"] - 0.05
    folder = tmp_path / "ranks-2" / runs[0].events("checkpoint_sealed")[-1]["path"]
    manifest.verify(folder, manifest.read(folder))
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 4
    assert str(tmp_path) not in json.dumps(config)
    base = AutoModelForCausalLM.from_pretrained(spec.model_dir)
    ids = torch.arange(3, 40)[None]
    adapted = PeftModel.from_pretrained(base, str(folder / "adapter")).eval()
    merged = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        one, other = adapted(ids).logits, merged(ids).logits
        with adapted.disable_adapter():
            before = adapted(ids).logits
    assert torch.allclose(one, other, atol=2e-4)
    assert not torch.allclose(before, other, atol=1e-2)


@pytest.mark.slow
def test_an_adapter_resumed_on_another_number_of_ranks(spec: RunSpec, tmp_path: Path) -> None:
    """The universal layout holds the adapter's states alone; the base model's weights come from its folder."""
    settings = spec.settings.model_copy(update={"lora": Lora(r=4, alpha=8.0), "learning_rate": 3e-3, "n_epochs": 2})
    whole = launched(spec, tmp_path / "whole", settings=settings)
    with alone():
        cut = {"workspace": tmp_path / "first", "settings": settings, "probe_prompts": [], "resume_steps": 4}
        first = Run(spec.model_copy(update=cut))
        first.wait_for("resume_point_sealed")
        (first.spec.workspace / "stop").write_text("drain")
        assert first.code() == 10, first.logs()
    sealed = first.events("resume_point_sealed")[-1]
    point = first.spec.workspace / sealed["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    expected = {event["step"]: event["metrics"]["loss"] for event in whole.events("step")}
    assert expected[10] < expected[1] - 0.05
    for ranks in (1, 3):
        run = launched(spec, tmp_path / f"on-{ranks}", settings=settings, world_size=ranks, resume_from=source)
        assert [event["code"] for event in run.events("warning")] == ["resume_other_world_size"]
        found = {event["step"]: event["metrics"]["loss"] for event in run.events("step")}
        assert list(found) == list(range(sealed["step"] + 1, 11))
        assert found == pytest.approx({step: expected[step] for step in found}, abs=1e-5)


@pytest.mark.parametrize(
    "update",
    [
        {"loss": "sigmoid", "lora": Lora(r=4)},
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ({"loss": "kto"}, {"loss": "s_dpo", "beta": 0.1}, {"loss": "ipo"})
        ),
    ],
)
def test_drained_and_resumed_with_other_settings(spec: RunSpec, tmp_path: Path, update: dict[str, Any]) -> None:
    """Bit by bit, with an adapter and with losses of other data; and KTO's z0 does not depend on the ranks."""
    settings = spec.settings.model_copy(
        update={"label_smoothing": 0.0, "nll_weight": 0.0, "n_epochs": 2, "learning_rate": 1e-3, **update}
    )
    whole = launched(spec, tmp_path / "whole", settings=settings)
    with alone():
        cut = {"workspace": tmp_path / "first", "settings": settings, "probe_prompts": []}
        first = Run(spec.model_copy(update=cut))
        first.wait_for("step", step=2)
        (first.spec.workspace / "stop").write_text("drain")
        assert first.code() == 10, first.logs()
    point = first.spec.workspace / first.events("resume_point_sealed")[-1]["path"]
    source = ResumeFrom(path=point, manifest_digest=manifest.read(point).digest())
    second = launched(spec, tmp_path / "second", settings=settings, resume_from=source)
    assert not second.events("warning")
    told = [event["metrics"]["loss"] for run in (first, second) for event in run.events("step")]
    assert told == [event["metrics"]["loss"] for event in whole.events("step")]
    if update["loss"] == "kto":
        same(launched(spec, tmp_path / "one", settings=settings, world_size=1), whole)
