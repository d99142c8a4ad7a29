"""ZeRO-3 on two ranks is the training that a plain loop would do."""

import math

import pytest
import torch

from core.contract import manifest
from core.contract.run_spec import RunSpec
from core.contract.trainer_events import KINDS
from tests.launch import Run
from tests.models import make_tokenizer
from trainer import records
from trainer.batches import global_batch
from trainer.data import Example, make_renderer, tokenise

pytestmark = pytest.mark.xdist_group("ranks")


def log_probability(model: torch.nn.Module, ids: tuple[int, ...], scored: list[int]) -> torch.Tensor:
    table = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.stack([table[t - 1, ids[t]] for t in scored]).sum()


def both(model: torch.nn.Module, pair: Example) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = [[t for start, end in answer.spans for t in range(start, end)] for answer in pair.answers]
    chosen, rejected = (log_probability(model, a.ids, t) for a, t in zip(pair.answers, tokens, strict=True))
    return chosen, rejected


def plain_losses(spec: RunSpec) -> list[float]:
    """One sequence at a time, no padding, no partition, reference beside the policy."""
    from transformers import AutoModelForCausalLM

    policy = AutoModelForCausalLM.from_pretrained(spec.model_dir)
    frozen = AutoModelForCausalLM.from_pretrained(spec.model_dir).requires_grad_(False)
    pairs = tokenise(make_renderer(make_tokenizer(), [1]), records.read(spec.train_data), 256, "drop").examples
    settings, total = spec.settings, 20
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    losses = []
    for step in range(1, total + 1):
        rate = min(step / 2, (total - step + 1) / (total - 2)) * settings.learning_rate
        optimizer.param_groups[0]["lr"] = rate
        loss = torch.zeros(())
        batch = global_batch(spec.seed, step, spec.train_digest, len(pairs), settings.batch_size)
        for i in batch:
            chosen, rejected = both(policy, pairs[i])
            before = both(frozen, pairs[i])
            z = settings.beta * ((chosen - before[0]) - (rejected - before[1]))
            dpo = -0.9 * torch.nn.functional.logsigmoid(z) - 0.1 * torch.nn.functional.logsigmoid(-z)
            length = sum(end - start for start, end in pairs[i].answers[0].spans)
            loss = loss + (dpo + settings.nll_weight * -chosen / length) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.max_grad_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_losses_are_those_of_a_plain_loop(spec: RunSpec, straight: Run) -> None:
    steps = straight.events("step")
    assert [event["step"] for event in steps] == list(range(1, 21))
    found = [event["metrics"]["loss"] for event in steps]
    assert found == pytest.approx(plain_losses(spec), abs=1e-5)
    assert found[-1] < found[0] - 0.1


def test_what_a_run_says(spec: RunSpec, straight: Run) -> None:
    events = straight.events()
    assert {event["event"] for event in events} <= KINDS
    assert events[-1]["event"] == "finished"
    (started,) = straight.events("started")
    assert (started["pairs"], started["total_steps"], started["world_size"]) == (38, 20, 2)
    phases = list(dict.fromkeys(event["phase"] for event in straight.events("phase")))
    assert phases == ["tokenizing", "reference_pass", "sampling", "training", "evaluating", "exporting", "verifying"]
    assert [(event["when"], event["step"]) for event in straight.events("sample")] == [
        *[("before", 0)] * 2,
        *[("after", 20)] * 2,
    ]
    evals = straight.events("eval")
    assert [event["step"] for event in evals] == [0, 5, 10, 15, 20]
    assert "eval/rewards/accuracies" not in evals[0]["metrics"]
    assert evals[-1]["metrics"]["eval/loss"] < evals[0]["metrics"]["eval/loss"]
    (judged,) = straight.events("judged")
    agreement, _, distance = judged["findings"]
    assert (agreement["code"], agreement["detail"]["pairs"]) == ("reference_agreement", 38)
    assert distance["code"] == "off_policy_distance"
    assert distance["value"] == pytest.approx(straight.events("step")[0]["metrics"]["nll_loss"], rel=0.1)
    first = straight.events("step")[0]
    assert first["metrics"]["loss"] == pytest.approx(
        math.log(2) + spec.settings.nll_weight * first["metrics"]["nll_loss"], abs=1e-5
    )
    assert straight.events("step")[-1]["eta_seconds"] == 0
    assert not straight.logs().count("Traceback")


def test_checkpoints_are_sealed_and_load_anywhere(spec: RunSpec, straight: Run) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sealed = straight.events("checkpoint_sealed")
    assert [(event["step"], event["final"]) for event in sealed] == [(5, False), (10, False), (15, False), (20, True)]
    assert {"loss", "eval/loss"} <= set(sealed[-1]["metrics"])
    assert not list(spec.workspace.rglob("*.tmp"))
    for event in sealed:
        folder = spec.workspace / event["path"]
        manifest.verify(folder, manifest.read(folder))
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 2
    assert all((folder / name).stat().st_size < spec.shard_bytes + 4096 for name in shards)
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = {event["prompt"]: event["completion"] for event in straight.events("sample") if event["when"] == "after"}
    for prompt, completion in said.items():
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)
        assert tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True) == completion
    assert spec.run_id not in "".join(path.read_text(errors="replace") for path in folder.iterdir())
