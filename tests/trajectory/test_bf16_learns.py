"""bf16 beside fp32 on a real model: after 20 steps at auto settings both have the same margin, where they were trained
and in everything that they export.
"""

import gc
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.arms import work
from core.contract.bands import LEARNING_RATE, LORA_LEARNING_RATE
from core.contract.preference import PreferenceRecord
from core.contract.run_spec import Lora, RunSpec, Settings
from tests.launch import Run, alone
from tests.pairs import write_records
from tests.support.real_model import real_model
from trainer import folder, model, records
from trainer.data import Example, make_renderer, tokenise
from trainer.layouts import collate
from trainer.scorer import Scorer

pytestmark = [
    pytest.mark.xdist_group("ranks"),
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    # PEFT asks for a name that transformers has given up.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]

STEPS, LONGEST = 20, 512
CLOSE = 0.1
# What a bf16 forward alone changes in the margin of one pair of labels, in nats: std over 480 pairs (docs/bf16.md).
ROUNDING = 0.345
SECONDS = 900.0
# By whether an adapter is trained: the file, pairs of a batch. What rounding alone changes in a bf16 forward grows with
# the root of the answer's tokens, and an adapter moves its margin by a quarter of a nat only: labels of two tokens. All
# weights move it twice as far: the shortest texts of the file.
DATA = {False: ("instruction-preference.alpaca.json", 4), True: ("persona.interest-in-science.jsonl", 8)}
# Of them a model's files are loaded and tried on so many, in fp32 arithmetic.
TRIED = 80


def pairs(lora: Lora | None) -> tuple[list[PreferenceRecord], int]:
    """Those to train on, which are evaluated on too, and the batch's size: what is learned of them is large beside what
    rounding alone changes."""
    name, batch = DATA[lora is not None]
    if not (work.DATA / name).exists():
        pytest.skip(f"{name} is real data that the project does not carry; it is looked for in ../shared/data")
    if lora:
        return work.persona()[: STEPS * batch], batch

    def length(each: PreferenceRecord) -> int:
        return sum(len(turn.content or "") for turn in (*each.prompt, *each.chosen, *each.rejected))

    return sorted(work.tone(), key=length)[: STEPS * batch], batch


@torch.no_grad()
def margin(loaded: nn.Module, base: torch.Tensor | None, examples: list[Example]) -> torch.Tensor:
    """Sums [answers] of a model without `base`, else the mean of (chosen - rejected) beyond those of the base."""
    scorer = Scorer(loaded).eval()
    some = (examples[at : at + 4] for at in range(0, len(examples), 4))
    sums = torch.cat([scorer(collate(each, "padded", torch.device("cpu")))[:, 0] for each in some])
    if base is None:
        return sums
    gained = (sums - base).view(-1, 2)
    return (gained[:, 0] - gained[:, 1]).mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("lora", [None, Lora()])
def test_the_margin_of_fp32(tmp_path: Path, lora: Lora | None, seed: int) -> None:
    base, (found, batch) = real_model(), pairs(lora)
    data = tmp_path / "pairs.zst"
    digest = write_records(data, found)
    engine: dict[str, float] = {}
    exported: dict[str, dict[str, float]] = {}
    renderer = make_renderer(folder.load_tokenizer(base), folder.end_tokens(base))
    examples = tokenise(renderer, records.read(data), LONGEST, "drop", "sigmoid").examples[:TRIED]
    # Of the weights that a run of this precision starts from.
    start = {name: margin(model.load(base, name).float(), None, examples) for name in ("fp32", "bf16")}
    for precision in ("fp32", "bf16"):
        spec = RunSpec(
            run_id="margin",
            workspace=tmp_path / precision,
            model_dir=base,
            model_digest="real",
            train_data=data,
            train_digest=digest,
            eval_data=data,
            eval_digest=digest,
            seed=seed,
            settings=Settings(
                batch_size=batch,
                learning_rate=LEARNING_RATE if lora is None else LORA_LEARNING_RATE,
                lora=lora,
                max_length=LONGEST,
                precision=precision,  # type: ignore[arg-type]
            ),
            row_tokens=1_024,
            export=["adapter", "model"] if lora else ["model"],
        )
        with alone():
            run = Run(spec)
            assert run.code(SECONDS) == 0, run.logs()
        engine[precision] = run.events("eval")[-1]["metrics"]["eval/rewards/margins"] / spec.settings.beta
        out = spec.workspace / "checkpoints" / f"step-{STEPS}"
        # In fp32 arithmetic, on the fp32 base: what the files hold, not what a server rounds of it.
        exported[precision] = {"model": float(margin(model.load(out, "fp32"), start[precision], examples))}
        if lora:
            from peft import PeftModel

            adapted = PeftModel.from_pretrained(model.load(base, "fp32"), str(out / "adapter")).merge_and_unload()
            exported[precision]["adapter"] = float(margin(adapted, start["fp32"], examples))
        gc.collect()
    print(seed, lora and lora.r, engine, exported)
    assert engine["fp32"] > 0.1
    # An adapter learns a quarter of a nat: over 160 pairs a tenth of that is a standard error of the run's own figure.
    chance = 2 * ROUNDING / len(found) ** 0.5 if lora else 0.0
    assert abs(engine["bf16"] - engine["fp32"]) <= CLOSE * engine["fp32"] + chance
    for kind, value in exported["bf16"].items():
        assert value == pytest.approx(exported["fp32"][kind], rel=CLOSE), kind
    told = [event["metrics"]["palate/update_share"] for event in run.events("checkpoint_sealed") if event["final"]]
    assert told == [pytest.approx(1, abs=0.02)]
