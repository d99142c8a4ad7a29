"""How long a run that is to leave may write its state."""

import pytest

from core.contract.run_spec import Lora, Settings
from planning.memory import state_bytes
from tests.unit.planning.known import MODEL
from worker.supervisor import DRAIN_SECONDS, drain_seconds

EIGHT_BILLION = MODEL.model_copy(update={"parameters": 8_000_000_000})


@pytest.mark.parametrize(
    ("settings", "saving", "least", "most"),
    [
        (Settings(), 0.0, 96e9 / 0.5e9, 1800.0),
        (Settings(), 100.0, 300.0, 500.0),
        (Settings(lora=Lora(r=16)), 0.0, DRAIN_SECONDS, DRAIN_SECONDS + 5),
        (Settings(lora=Lora(r=16)), 1.0, DRAIN_SECONDS, DRAIN_SECONDS + 5),
    ],
    ids=["8B, no point yet", "8B, a point took 100 s", "8B LoRA", "8B LoRA, a point took 1 s"],
)
def test_it_follows_from_the_state(settings: Settings, saving: float, least: float, most: float) -> None:
    """96 GB on a disk of half a GB a second; and whatever was measured, with time to spare."""
    assert least < drain_seconds(state_bytes(EIGHT_BILLION, settings), saving) <= most


def test_of_a_state_that_nobody_knows_it_is_the_time_of_a_step() -> None:
    assert drain_seconds(0, 0.0) == DRAIN_SECONDS == 120.0
