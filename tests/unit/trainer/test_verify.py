"""What the verification of a finished model refuses: each fault planted into files that pass without it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.contract.run_spec import Lora, RunSpec, Settings
from tests.models import make_tiny_model
from tests.support.real_model import real_model
from trainer import lora, model, parts
from trainer.collection import Collection
from trainer.data import Example
from trainer.export import ADAPTER, ADAPTER_CONFIG, adapter_config
from trainer.layouts import collate
from trainer.proof import TOKENS, Proof, Scored, chosen
from trainer.render import Answer
from trainer.rounding import Draws, rounded
from trainer.safetensors_file import digest, table
from trainer.scorer import Scorer
from trainer.verify import ExportMismatch, Found, changes, merge, merged_rightly, verify

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT asks for it
CPU = torch.device("cpu")
EXAMPLES = [
    Example(str(n), n, 4, tuple(Answer(tuple(range(5 + n, 5 + n + size)), ((4, size),)) for size in (16, 20)))
    for n in range(3)
]
Q = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.layers.1.input_layernorm.weight"


@dataclass
class Made:
    """A base model, an adapter on it, both exported; `tell` makes the proof of the files as they are now."""

    spec: RunSpec
    folder: Path
    sums: list[float]
    adapted: list[float] | None

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    def change(self, act: Callable[[dict[str, Tensor]], None], path: Path | None = None) -> None:
        tensors = load_file(path or self.weights)
        act(tensors)
        save_file(tensors, path or self.weights, {"format": "pt"})

    def proof(self, **other: object) -> Proof:
        tensors = {}
        for path in (self.weights, self.folder / "adapter" / ADAPTER):
            content = path.read_bytes()
            told = [digest(content[each.begin : each.end]) for each in table(path).values()]
            tensors[path.relative_to(self.folder).as_posix()] = told
        of_a_run = {"step": 2, "total_steps": 2, "pairs": 3, "tokens": 9, "metrics": {}}
        scored = [
            Scored(prefix=each.prefix, answers=[(list(a.ids), list(a.spans)) for a in each.answers])
            for each in EXAMPLES
        ]
        judged = {"examples": scored, "sums": self.sums, "noise": 6e-6, "fused": True, "tied": True}
        judged |= {"adapted": self.adapted, "scaling": 2.0, "slope": None}
        return Proof(**{**of_a_run, **judged, "tensors": tensors, "opening": [5, 6, 7], "ends": [2], **other})  # type: ignore[arg-type]

    def verified(self, proof: Proof | None = None) -> Found:
        return verify(self.spec, self.folder, proof or self.proof(), CPU, lambda: None)


@torch.no_grad()
def scored(loaded: torch.nn.Module) -> list[float]:
    scorer = Scorer(loaded).eval()
    assert scorer(collate(EXAMPLES, "padded", CPU)).shape == (Collection(EXAMPLES).sequences, 2)
    found: list[float] = scorer(collate(EXAMPLES, "padded", CPU))[:, 0].tolist()
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base") / "model")


def export(base: Path, folder: Path, precision: str = "fp32", strength: float = 0.3) -> Made:
    """With plain safetensors, by the parts of a real export."""
    spec = RunSpec.model_validate(
        {"run_id": "r", "workspace": folder, "model_dir": base, "model_digest": "", "train_data": folder}
        | {"train_digest": "", "export": ["model", "adapter"]}
        | {"settings": Settings.model_validate({"precision": precision, "lora": Lora(r=4, alpha=8.0)})}
    )
    shutil.copytree(base, folder)
    trained = model.load(base, precision)
    config = lora.inject(trained, Lora(r=4, alpha=8.0), 0)
    generator = torch.Generator().manual_seed(1)
    for _, layer in lora.layers(trained):
        b = layer.lora_B[lora.NAME].weight
        b.data.copy_(strength * torch.randn(b.shape, generator=generator))
    dtype = model.DTYPES[precision]
    for path, made in (
        (folder / "model.safetensors", parts.of_model(trained, dtype, 0)),
        (folder / "adapter" / ADAPTER, parts.of_adapter(trained, dtype)),
    ):
        path.parent.mkdir(exist_ok=True)
        tensors = {name: t.contiguous() for part in made for name, t in part.make(part.gathered).items()}
        save_file({name: tensor.detach().clone() for name, tensor in tensors.items()}, path, {"format": "pt"})
    written = adapter_config(config.to_dict(), spec)  # type: ignore[no-untyped-call]
    (folder / "adapter" / ADAPTER_CONFIG).write_text(json.dumps(written))
    sums = scored(trained)
    return Made(spec, folder, sums, sums if precision == "fp32" else None)


@pytest.fixture
def made(base: Path, tmp_path: Path) -> Made:
    return export(base, tmp_path / "exported")


def test_what_was_exported_rightly_passes(made: Made) -> None:
    found = made.verified()
    assert found.figures["merge slope of the exported model"] == pytest.approx(1, abs=1e-3)
    for what in ("exported model", "adapter on its base model"):
        assert found.figures[f"difference of the {what}"] < found.figures["allowed"] == 8 * 6e-6
    assert found.text is not None
    assert "is the one that was trained" in found.message


def one_bit(made: Made) -> None:
    content = bytearray(made.weights.read_bytes())
    content[-1] ^= 1
    made.weights.write_bytes(content)


def one_gone(made: Made) -> None:
    made.change(lambda tensors: tensors.__delitem__(NORM))


def one_more(made: Made) -> None:
    made.change(lambda tensors: tensors.update({"model.layers.7.odd.weight": torch.zeros(3)}))


def one_flat(made: Made) -> None:
    made.change(lambda tensors: tensors.update({Q: tensors[Q].flatten()}))


def one_narrow(made: Made) -> None:
    made.change(lambda tensors: tensors.update({Q: tensors[Q].half()}))


def of_another_model(made: Made) -> None:
    made.change(lambda tensors: tensors.update({NORM: tensors[NORM] * 1.001}))


def merged_at(made: Made, times: float) -> None:
    """As if the adapter had so many times its strength; the sums are those of these very files."""
    before = load_file(made.spec.model_dir / "model.safetensors")

    def act(tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            tensors[name] = before[name] + times * (tensors[name] - before[name])

    made.change(act)
    made.sums = scored(model.load(made.folder, "fp32"))


def one_not_merged(made: Made) -> None:
    before = load_file(made.spec.model_dir / "model.safetensors")
    made.change(lambda tensors: tensors.update({Q: before[Q]}))
    made.sums = scored(model.load(made.folder, "fp32"))


def not_tied(made: Made) -> None:
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    name = "model.embed_tokens.weight"
    made.change(lambda tensors: tensors.update({"lm_head.weight": tensors[name].clone()}))


def stronger(made: Made) -> None:
    path = made.folder / "adapter" / ADAPTER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 8.04}))


def in_fewer_layers(made: Made) -> None:
    path = made.folder / "adapter" / ADAPTER_CONFIG
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"target_modules": config["target_modules"][1:]}))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (one_gone, "hold no model.layers.1.input_layernorm.weight"),
        (one_more, "has no place for model.layers.7.odd.weight"),
        (one_flat, rf"{Q} was exported as \[4096\]; in the base model it is \[64, 64\]"),
        (one_narrow, f"{Q} was exported as F16"),
        (of_another_model, "The exported model, loaded again, differs from the trained one by"),
        (lambda made: merged_at(made, 1.01), r"holds 1\.01\d\d times the adapter's change; 1 \+- 0\.00"),
        (lambda made: merged_at(made, 0.0), r"holds 0\.000 times the adapter's change in model\.layers"),
        (one_not_merged, rf"holds 0\.000 times the adapter's change in {Q}"),
        (not_tied, "Head and embeddings of the exported model are two"),
    ],
)
def test_a_model_that_is_not_the_trained_one_is_refused(made: Made, fault: Callable[[Made], None], words: str) -> None:
    """Its bytes are those that were written: it was made wrongly."""
    fault(made)
    with pytest.raises(ExportMismatch, match=words):
        made.verified()


@pytest.mark.parametrize(("fault", "words"), [(one_bit, "the bytes that were written"), (one_gone, "were written")])
def test_a_file_that_is_not_what_was_written_is_refused(made: Made, fault: Callable[[Made], None], words: str) -> None:
    proof = made.proof()
    fault(made)
    with pytest.raises(ExportMismatch, match=words):
        made.verified(proof)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(stronger, r"PEFT scales the adapter of .* by 2\.01; it was trained at 2\.0"), (in_fewer_layers, "other layers")],
)
@pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning")
def test_an_adapter_that_is_not_the_trained_one_is_refused(
    made: Made, fault: Callable[[Made], None], words: str
) -> None:
    fault(made)
    spec = made.spec.model_copy(update={"export": ["adapter"]})
    proof = made.proof()
    told = {ADAPTER: proof.tensors[f"adapter/{ADAPTER}"]}
    with pytest.raises(ExportMismatch, match=words):
        verify(spec, made.folder / "adapter", proof.model_copy(update={"tensors": told}), CPU, lambda: None)


def test_a_change_smaller_than_fp32_can_hold_is_no_fault(base: Path, tmp_path: Path) -> None:
    """After a step at the beginning of its warm-up a run has hardly moved."""
    made = export(base, tmp_path / "exported", strength=1e-9)
    slope = merge(made.spec, made.folder, made.folder / "adapter", lambda: None)
    assert slope.square > 0
    assert abs(slope.value - 1) > 0.01
    assert slope.fault() is None


def test_a_merge_by_rounding_to_nearest_is_refused_in_bf16(base: Path, tmp_path: Path) -> None:
    """Changes smaller than half a unit of bf16 go: by fair rounding the sum of them stays."""
    made = export(base, tmp_path / "exported", "bf16", strength=3e-4)
    before = load_file(base / "model.safetensors")
    change = dict(changes(made.folder / "adapter"))

    def fairly(tensors: dict[str, Tensor]) -> None:
        generator = torch.Generator().manual_seed(2)
        for name, each in change.items():
            exact = before[name].bfloat16().float() + each
            bits = exact.view(torch.int32) + torch.randint(0, 1 << 16, exact.shape, generator=generator).int()
            tensors[name] = (bits & ~0xFFFF).view(torch.float32).bfloat16()

    def nearest(tensors: dict[str, Tensor]) -> None:
        for name, each in change.items():
            tensors[name] = (before[name].bfloat16().float() + each).bfloat16()

    made.change(fairly)
    slope = merge(made.spec, made.folder, made.folder / "adapter", lambda: None)
    assert slope.fault() is None
    assert slope.uncertain < 0.2
    made.change(nearest)
    slope = merge(made.spec, made.folder, made.folder / "adapter", lambda: None)
    assert slope.value < 0.7
    with pytest.raises(ExportMismatch, match="times the adapter's change"):
        merged_rightly(slope, "exported model")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_where_the_engine_used_the_model_s_own_head_so_does_the_check(
    base: Path, tmp_path: Path, precision: str
) -> None:
    """The fused head is wrong for this model: its configuration names a factor that its own head ignores."""
    folder = Path(shutil.copytree(base, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"logit_scale": 3.0}))
    made = export(folder, tmp_path / "exported", precision)
    wrong = made.sums
    trained = Scorer(model.load(made.folder, precision)).eval()
    trained.fused = False
    with torch.no_grad():
        right = trained(collate(EXAMPLES, "padded", CPU))[:, 0].tolist()
    update = {"export": ["model"]}
    spec, noise = made.spec.model_copy(update=update), {"fp32": 6e-6, "bf16": 2.5e-2}[precision]
    verify(spec, made.folder, made.proof(sums=right, fused=False, noise=noise), CPU, lambda: None)
    with pytest.raises(ExportMismatch, match="loaded again"):
        verify(spec, made.folder, made.proof(sums=wrong, fused=False, noise=noise), CPU, lambda: None)


def test_so_many_examples_as_a_row_of_the_database_may_hold() -> None:
    long = [Example(str(n), n, 1, (Answer(tuple(range(TOKENS // 3)), ((1, 2),)),)) for n in range(9)]
    assert [each.line for each in chosen(long)] == [0, 1, 2]
    assert [each.line for each in chosen([*long[:0], Example("x", 7, 1, long[0].answers * 9)])] == [7], "one at least"
    assert len(chosen(EXAMPLES * 20)) == 16


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_faults_of_a_real_model_s_export(tmp_path: Path, precision: str) -> None:
    """An adapter merged at 1.01 times its strength, left out of one of 210 matrices, and a layer in another's place."""
    made = export(real_model(), tmp_path / "exported", precision, strength=3e-3)
    noise = {"fp32": 6e-6, "bf16": 2.5e-2}[precision]
    made.sums = scored(model.load(made.folder, precision))
    found = made.verified(made.proof(noise=noise))
    assert found.figures["merge slope of the exported model"] == pytest.approx(1, abs=0.003)
    right, before = load_file(made.weights), load_file(made.spec.model_dir / "model.safetensors")
    dtype = model.DTYPES[precision]
    adapted = {name: before[name].to(dtype).float() for name, _ in changes(made.folder / "adapter")}
    assert len(adapted) == 210

    def stronger(tensors: dict[str, Tensor]) -> None:
        for number, (name, change) in enumerate(changes(made.folder / "adapter")):
            exact = adapted[name] + 1.01 * change
            tensors[name] = rounded(exact, Draws((number,))) if dtype == torch.bfloat16 else exact

    def without_one(tensors: dict[str, Tensor]) -> None:
        tensors[Q] = before[Q].to(dtype)

    def misplaced(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("model.layers.15.") and "norm" in name]:
            tensors[name] = tensors[name.replace(".15.", ".2.")].clone()

    for fault, words in (
        (stronger, r"holds 1\.0(09|10)\d times the adapter's change"),
        (without_one, rf"holds 0\.000 times the adapter's change in {Q}"),
        (misplaced, "differs from the trained one by"),
    ):
        made.change(fault)
        with pytest.raises(ExportMismatch, match=words):
            made.verified(made.proof(noise=noise))
        save_file(right, made.weights, {"format": "pt"})
