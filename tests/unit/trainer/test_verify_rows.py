"""How an exported model is scored when it is loaded again: rows of how many tokens, and never for long in silence."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.contract.run_spec import RunSpec
from tests.unit.trainer.test_exact import deep
from tests.unit.trainer.test_scorer import examples
from trainer import verify, verify_alone
from trainer.emit import Emitter
from trainer.proof import Proof
from trainer.verify import Found


def test_no_row_has_more_tokens_than_whole_logits_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded model's own logits are whole, 128,256 columns of some; a run's rows may have 65,536 tokens."""
    asked: list[int] = []

    def plan(*given: Any) -> Any:
        asked.append(given[5])
        raise InterruptedError

    monkeypatch.setattr(verify, "plan", plan)
    proof: Any = SimpleNamespace(answers=examples, noise=1.0, fused=False)
    for row_tokens in (65_536, 1_024):
        spec: Any = SimpleNamespace(row_tokens=row_tokens)
        with pytest.raises(InterruptedError):
            verify.same_sums(spec, deep(), proof, [], torch.device("cpu"), lambda: None, "model")
    assert asked == [2_048, 1_024]


def test_who_verifies_says_so_between_files_and_forwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour of silence is a hang: of 70B, a check on the CPU takes longer."""
    proof = Proof.model_construct(step=3, examples=[])
    emitter = Emitter(tmp_path, 0)
    asked: list[str] = []

    def slow(spec: RunSpec, folder: Path, proof: Proof, device: torch.device, look: Callable[[], None]) -> Found:
        for _ in range(3):
            emitter._told = 0.0  # as if half a second had gone by
            look()
        return Found()

    monkeypatch.setattr(verify_alone, "verify", slow)
    spec = RunSpec.model_construct(workspace=tmp_path)
    verify_alone.verdict(spec, tmp_path / "model", proof, torch.device("cpu"), emitter, lambda: asked.append("stop?"))
    told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    phases = [event["done"] for event in told if event["event"] == "phase" and event["phase"] == "verifying"]
    assert phases == [0, 1, 2, 3, 3]
    assert len(asked) == 3
