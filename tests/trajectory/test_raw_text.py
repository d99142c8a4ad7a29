"""Raw texts train a model that has no chat template, and nothing else does. A single rank, without a launcher."""

import json
from pathlib import Path

import pytest

from core.contract.run_spec import RunSpec
from tests.models import make_tiny_model
from tests.pairs import make_records, write_records
from tests.trajectory.test_refused import ended, refused

pytestmark = pytest.mark.xdist_group("ranks")


@pytest.fixture
def plain(spec: RunSpec, tmp_path: Path) -> RunSpec:
    """The same data for a model without a chat template, and one step."""
    settings = spec.settings.model_copy(update={"max_steps": 1})
    model = make_tiny_model(tmp_path / "model", template=None)
    update = {"workspace": tmp_path / "run", "model_dir": model, "world_size": 1, "settings": settings}
    return spec.model_copy(update=update)


def test_a_record_that_needs_the_template_is_refused(plain: RunSpec) -> None:
    code, name, message = refused(plain)
    assert (code, name) == (66, "no_chat_template")
    assert "palate[raw_text]" in message


def test_raw_texts_train_it(plain: RunSpec, tmp_path: Path) -> None:
    data: dict[str, Path | str] = {}
    for name, count in (("train", 38), ("eval", 7)):
        made = [each.model_copy(update={"raw_text": True}) for each in make_records(count)]
        data |= {f"{name}_data": tmp_path / name, f"{name}_digest": write_records(tmp_path / name, made)}
    code, last = ended(plain.model_copy(update=data))
    assert (code, last["event"], last["step"]) == (0, "finished", 1)
    said = [json.loads(line) for line in (plain.workspace / "events.jsonl").read_text().splitlines()]
    prompts = [each["prompt"] for each in said if each["event"] == "sample"]
    assert prompts == [*plain.probe_prompts, *plain.probe_prompts]
