"""Architectures as they are published, at real depth: each trains, exports, loads again, and nothing refuses it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.contract.run_spec import Lora, RunSpec, Settings
from tests.launch import alone
from tests.pairs import make_records, write_records
from tests.support import warm, zoo
from tests.support.planted import ANYWHERE, FAULTS
from tests.unit.trainer.test_exact import gate
from trainer.export import ADAPTER
from trainer.layouts import Layout
from trainer.safetensors_file import BASE_DIGEST

pytestmark = [
    pytest.mark.xdist_group("ranks"),
    # PEFT asks for a name that transformers has given up.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]
Cell = tuple[str, bool, int]  # precision, LoRA, ranks
# Of each two of the three both values of one meet both of the other.
CELLS: list[Cell] = [("fp32", False, 1), ("fp32", True, 2), ("bf16", False, 2), ("bf16", True, 1)]
# DeepSpeed's time goes by modules, of which an adapter has many: here two names of linear layers, else all of them.
FEW = {"llama3": ["q_proj", "down_proj"], "gpt2": ["c_attn"]}
# One cell each: a rotary scaling, caps and windows, Conv1D and learned positions, sinks, experts, biases and ties.
QUICK: dict[str, Cell] = {
    "llama3": ("fp32", True, 1),
    "gemma2": ("bf16", False, 1),
    "gpt2": ("bf16", True, 1),
    "gpt_oss": ("fp32", False, 1),
    "qwen3_moe": ("fp32", False, 1),
    "qwen2": ("bf16", False, 2),
}
# Rows of several documents are wrong in these, or cannot be: a state that runs on, or an attention of their own.
PADDED = frozenset({"bloom", "falcon", "falcon_h1", "mamba", "mpt"})
SECONDS = 600.0
Make = Callable[..., RunSpec]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with alone(), warm.node(tmp_path_factory.mktemp("node")):
        yield


@pytest.fixture(scope="module")
def make(node: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """The spec of one step of four pairs, some longer than the windows, of a model that is made at its first use."""
    base = tmp_path_factory.mktemp("zoo")
    digest = write_records(base / "train.zst", make_records(4, seed=2, longest=60))

    def made(name: str, cell: Cell, targets: list[str] | None = None) -> RunSpec:
        precision, lora, ranks = cell
        folder = base / name
        adapter = Lora(r=4, alpha=8.0, target_modules=targets)
        common = {"learning_rate": 1e-3, "batch_size": 4, "max_steps": 1, "max_length": 256}
        settings = {**common, "precision": precision, "lora": adapter if lora else None}
        return RunSpec(
            run_id="zoo",
            workspace=base / "run",
            model_dir=folder if folder.exists() else zoo.make_model(folder, name),
            model_digest=name,
            train_data=base / "train.zst",
            train_digest=digest,
            world_size=ranks,
            seed=3,
            settings=Settings.model_validate(settings),
            row_tokens=512,
            export=["adapter", "model"] if lora else ["model"],
            shard_bytes=400_000,
        )

    yield made
    shutil.rmtree(base)


def passes(spec: RunSpec) -> None:
    """To its end; what it exports has the base model's tensors, and loads by plain transformers and PEFT."""
    from safetensors import safe_open

    try:
        ended = warm.run(spec, SECONDS)
        assert ended.code == 0, ended.reason
        assert ended.of("started")[0]["layout"] == ("padded" if spec.model_digest in PADDED else "shared")
        (sealed,) = ended.of("checkpoint_sealed")
        folder = spec.workspace / sealed["path"]
        assert shapes(folder) == shapes(spec.model_dir)
        base, found = weights(spec.model_dir), weights(folder)
        assert base.keys() == found.keys()
        moved = {name for name in base if (base[name] != found[name]).any()}
        if spec.settings.lora:
            with safe_open(folder / "adapter" / ADAPTER, framework="pt") as adapter:
                assert adapter.metadata() == {"format": "pt", BASE_DIGEST: spec.model_digest}
            expected = merged(spec.model_dir, folder / "adapter")
            for name, tensor in expected.items():
                # Of bf16 two units in the last place: of the base model's weight, and of the sum.
                slack = 1e-6 if spec.settings.precision == "fp32" else (tensor.abs() + base[name].abs()) * 2**-7
                assert ((found[name] - tensor).abs() <= slack).all(), name
            assert moved
        else:
            # Of a vector of ones or nothing, and of an expert that no token was sent to, a step may leave all.
            assert len(moved) > len(base) / 2
    finally:
        shutil.rmtree(spec.workspace, ignore_errors=True)


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Of the tensors of all files."""
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as opened:
            found |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    return found


def weights(folder: Path) -> dict[str, Any]:
    """Through plain transformers, in fp32: nothing missing, nothing too much."""
    import torch
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(told.values()), told
    return dict(model.state_dict())


def merged(base: Path, adapter: Path) -> dict[str, Any]:
    """The adapter on the base model, by PEFT, in fp32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return dict(PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().state_dict())


def test_there_are_enough_of_them() -> None:
    from transformers import AutoConfig

    assert len(zoo.FAMILIES) >= 20
    assert set(QUICK) <= set(zoo.FAMILIES)
    for kind, own in zoo.FAMILIES.values():
        assert AutoConfig.for_model(kind, **own).num_hidden_layers >= 24, kind


@pytest.mark.parametrize("name", QUICK)
def test_one_step_of_six_of_them(make: Make, name: str) -> None:
    passes(make(name, QUICK[name], FEW.get(name)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", zoo.FAMILIES)
def test_one_step_in_each_precision_by_all_weights_and_lora_on_one_rank_and_two(make: Make, name: str) -> None:
    for cell in CELLS:
        passes(make(name, cell))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", zoo.FAMILIES)
def test_planted_faults_are_caught_in_them(name: str) -> None:
    """By the gates with limit zero, which random weights do not mislead; the one half in fp32, the other in bf16."""
    precision = ("fp32", "bf16")[list(zoo.FAMILIES).index(name) % 2]
    model = zoo.build(name)
    asked = gate(model, precision)
    layout: Layout = "padded" if name in PADDED else "shared"
    assert not asked.refuses(layout)
    for fault in ANYWHERE if name in PADDED else FAULTS:
        with FAULTS[fault](model):
            assert asked.refuses(layout), fault
