"""The plan against the run: seconds of training, seconds of the whole run, and peak memory, over 20 small runs.

One rank on a CPU, started by hand. Six runs of other sizes calibrate first, as finished jobs do on a node; no forecast
sees a figure of its own run. Results are kept in a file, so that it can go on: `bench_plan.py [--results FILE]`.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.contract.job_spec import DpoHyperparameters  # noqa: E402
from core.contract.losses import LossName  # noqa: E402
from core.contract.preference import Message, Origin, PreferenceRecord  # noqa: E402
from core.contract.run_spec import Inspection, InspectSpec, RunSpec  # noqa: E402
from planning import facts as model_facts  # noqa: E402
from planning import memory, weights  # noqa: E402
from planning import time as times  # noqa: E402
from planning.facts import ModelFacts  # noqa: E402
from planning.model_json import read_json  # noqa: E402
from planning.node import NodeFacts, Rate  # noqa: E402
from planning.resolve import resolve  # noqa: E402
from tests.models import WORDS, make_tokenizer  # noqa: E402
from tests.pairs import write_records  # noqa: E402

STEPS, WARM_UP = 14, 3
WITHIN = 0.10


@dataclass(frozen=True)
class Setup:
    """words: of the longest answer; batch: pairs a step."""

    hidden: int
    layers: int
    vocabulary: int
    words: int
    batch: int
    loss: LossName = "sigmoid"
    lora: bool = False

    @property
    def name(self) -> str:
        return "-".join(str(each) for each in asdict(self).values())


CALIBRATION = [
    Setup(128, 2, 1024, 60, 8),
    Setup(256, 4, 1024, 60, 8),
    Setup(256, 8, 4096, 120, 4),
    Setup(512, 4, 4096, 60, 8),
    Setup(384, 6, 1024, 30, 16),
    Setup(256, 4, 1024, 60, 8, lora=True),
]
FORECAST = [
    Setup(hidden, layers, vocabulary, words, batch, loss, lora)
    for hidden, layers, vocabulary, words, batch, loss, lora in [
        (128, 4, 1024, 60, 8, "sigmoid", False),
        (192, 4, 1024, 60, 8, "sigmoid", False),
        (256, 2, 1024, 60, 8, "ipo", False),
        (256, 6, 1024, 60, 8, "sigmoid", False),
        (256, 4, 4096, 60, 8, "sigmoid", False),
        (256, 4, 1024, 30, 8, "sigmoid", False),
        (256, 4, 1024, 120, 8, "sigmoid", False),
        (256, 4, 1024, 60, 4, "hinge", False),
        (256, 4, 1024, 60, 16, "sigmoid", False),
        (320, 4, 1024, 60, 8, "apo_zero", False),
        (384, 4, 1024, 60, 8, "sigmoid", False),
        (384, 8, 1024, 60, 4, "sigmoid", False),
        (512, 2, 1024, 60, 8, "sigmoid", False),
        (512, 4, 1024, 30, 8, "simpo", False),
        (512, 6, 1024, 60, 4, "sigmoid", False),
        (256, 4, 8192, 60, 8, "sigmoid", False),
        (256, 4, 1024, 60, 8, "orpo", False),
        (192, 6, 1024, 120, 4, "sigmoid", False),
        (384, 4, 1024, 60, 8, "sigmoid", True),
        (512, 4, 1024, 60, 4, "sigmoid", True),
    ]
]


def make_model(folder: Path, setup: Setup) -> Path:
    """A random Llama; its table may be larger than the tokenizer's."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=setup.vocabulary,
        hidden_size=setup.hidden,
        intermediate_size=setup.hidden * 3,
        num_hidden_layers=setup.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: p.detach() for name, p in model.named_parameters()}, folder / "model.safetensors", {"format": "pt"}
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_data(path: Path, setup: Setup) -> str:
    """Pairs of very different lengths, enough for all steps."""
    draw = random.Random(1)

    def say(role: str, words: int) -> Message:
        return Message(role=role, content=" ".join(draw.choices(WORDS, k=draw.randint(words // 4, words))))  # type: ignore[arg-type]

    records = [
        PreferenceRecord(
            id=str(n),
            prompt=[say("user", setup.words)],
            chosen=[say("assistant", setup.words)],
            rejected=[say("assistant", setup.words)],
            origin=Origin(line=n + 1, format="bench"),
        )
        for n in range(setup.batch * STEPS)
    ]
    return write_records(path, records)


def prepared(base: Path, setup: Setup) -> tuple[RunSpec, Inspection, ModelFacts]:
    from trainer.inspect import inspect

    model = make_model(base / "model", setup)
    digest = make_data(base / "data.zst", setup)
    found = inspect(InspectSpec(model_dir=model, data=base / "data.zst", loss=setup.loss, out=base / "inspection"))
    known = model_facts.facts(read_json(model / "config.json"), weights.read(model))
    assert known is not None
    asked: dict[str, Any] = {"batch_size": setup.batch, "lora": {} if setup.lora else None}
    settings = resolve(
        DpoHyperparameters.model_validate(asked), pairs=found.usable, max_length=found.max_length, loss=setup.loss
    )
    spec = RunSpec(
        run_id=setup.name,
        workspace=base / "run",
        model_dir=model,
        model_digest="bench",
        train_data=base / "data.zst",
        train_digest=digest,
        settings=settings,
        row_tokens=memory.row_budget(settings, found, facts=known),
    )
    return spec, found, known


def run(setup: Setup) -> dict[str, Any]:
    """What the run took, and what the forecast needs."""
    with tempfile.TemporaryDirectory() as folder:
        spec, found, known = prepared(Path(folder), setup)
        spec.workspace.mkdir()
        path = spec.workspace / "run.json"
        path.write_text(spec.model_dump_json())
        started = time.monotonic()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen([sys.executable, "-m", "trainer", "--spec", str(path)], cwd=ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        if status:
            logs = "\n".join(each.read_text()[-2000:] for each in (spec.workspace / "logs").glob("*.log"))
            raise SystemExit(f"{setup.name} ended with {status}: {logs}")
        events = [json.loads(line) for line in (spec.workspace / "events.jsonl").read_text().splitlines()]
        steps = [event["time"] for event in events if event["event"] == "step"]
        return {
            "setup": asdict(setup),
            "spec": spec.model_dump(mode="json"),
            "inspection": found.model_copy(update={"previews": [], "problems": []}).model_dump(mode="json"),
            "facts": known.model_dump(),
            "layout": next(event["layout"] for event in events if event["event"] == "started"),
            "steps": [after - before for before, after in pairwise(steps)],
            "wall": wall,
            "peak": usage.ru_maxrss << 10,
        }


def rate(result: dict[str, Any]) -> Rate:
    spec, found = RunSpec.model_validate(result["spec"]), Inspection.model_validate(result["inspection"])
    known = ModelFacts.model_validate(result["facts"])
    return Rate(
        parameters=known.parameters,
        layers=known.layers or 1,
        precision="fp32",
        lora=spec.settings.lora is not None,
        flops=times.step_flops(known, spec.settings, found, ranks=1),
        rows=times.step_rows(spec.settings, found, ranks=1, row_tokens=spec.row_tokens),
        seconds=statistics.median(result["steps"][WARM_UP:]),
    )


def errors(result: dict[str, Any], node: NodeFacts) -> dict[str, float]:
    """Forecast over measurement, less 1."""
    from planning.plan import fit_on

    spec, found = RunSpec.model_validate(result["spec"]), Inspection.model_validate(result["inspection"])
    known = ModelFacts.model_validate(result["facts"])
    forecast = times.forecast(known, spec.settings, found, ranks=1, row_tokens=spec.row_tokens, node=node)
    a_step = forecast.training / times.total_steps(spec.settings, found.usable)
    peak = fit_on(node, spec.settings, found, known, 1).total
    return {
        "step": a_step / statistics.median(result["steps"][WARM_UP:]) - 1,
        "run": forecast.total / result["wall"] - 1,
        "memory": peak / result["peak"] - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "bench_plan.json")
    parser.add_argument("--most", type=int, default=100, help="runs in one go")
    arguments = parser.parse_args()
    known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    wanted = [setup for setup in [*CALIBRATION, *FORECAST] if setup.name not in known]
    for setup in wanted[: arguments.most]:
        known[setup.name] = run(setup)
        arguments.results.write_text(json.dumps(known))
        print(f"{setup.name}: {known[setup.name]['wall']:.1f} s", flush=True)
    if len(wanted) > arguments.most:
        return
    node = NodeFacts(slots=1, memory_bytes=24 << 30, rates=[rate(known[each.name]) for each in CALIBRATION])
    found = {setup.name: errors(known[setup.name], node) for setup in FORECAST}
    for name, each in found.items():
        print(f"{name:40}" + "  ".join(f"{what} {value:+.1%}" for what, value in each.items()))
    for what in ("step", "run", "memory"):
        values = [abs(each[what]) for each in found.values()]
        share = sum(value <= WITHIN for value in values) / len(values)
        print(f"{what}: {share:.0%} of {len(values)} within 10 %", end=", ")
        print(f"median {statistics.median(values):.1%}, most {max(values):.1%}")


if __name__ == "__main__":
    main()
