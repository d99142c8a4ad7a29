"""How many tokens of an exported model are scored at once when it is loaded again."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.unit.trainer.test_exact import deep
from tests.unit.trainer.test_scorer import examples
from trainer import verify


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
