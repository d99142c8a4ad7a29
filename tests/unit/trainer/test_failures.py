import errno
import json
from pathlib import Path

import pytest

from core.contract.errors import BadInput, BadModel
from core.contract.exits import Exit
from core.contract.trainer_events import Failed, parse_event
from trainer.emit import Emitter
from trainer.failures import BadRecord, Diverged, GateFailed, judge
from trainer.folder import refusal
from trainer.verify import ExportMismatch


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (BadInput("x"), Exit.BAD_SPEC, "invalid_value"),
        (BadRecord("x", code="too_long", line=3), Exit.BAD_DATA, "too_long"),
        (BadModel("x"), Exit.BAD_MODEL, "invalid_model"),
        (Diverged("x", step=3), Exit.DIVERGED, "diverged"),
        (GateFailed("x"), Exit.REFUSED, "gate_failed"),
        (ExportMismatch("x"), Exit.REFUSED, "export_mismatch"),
        (OSError(errno.ENOSPC, "full"), Exit.INFRASTRUCTURE, "no_space"),
        (OSError(errno.EFBIG, "a limit of the process"), Exit.INFRASTRUCTURE, "no_space"),
        (
            RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
            Exit.INFRASTRUCTURE,
            "no_space",
        ),
        (ValueError("I/O error: No space left on device (os error 28)"), Exit.INFRASTRUCTURE, "no_space"),
        (MemoryError(), Exit.INFRASTRUCTURE, "no_memory"),
        (FileNotFoundError("x"), Exit.BUG, "internal_error"),
        (RuntimeError("[gloo/transport/tcp/pair.cc:1] Connection closed by peer"), Exit.INFRASTRUCTURE, "lost_peer"),
        (KeyError("secret"), Exit.BUG, "internal_error"),
    ],
)
def test_every_failure_has_an_exit_code_and_a_word(error: Exception, code: Exit, name: str) -> None:
    verdict = judge(error)
    assert (verdict.exit, verdict.code) == (code, name)
    assert "secret" not in verdict.message


def test_a_broken_disk_below_a_library_is_not_the_models_fault() -> None:
    disk = OSError(errno.EIO, "input/output error")
    wrapped = ValueError("cannot load the configuration")
    wrapped.__cause__ = disk
    assert refusal("model", wrapped) is disk
    told = refusal("model", ValueError("no such model type\nand more"))
    assert isinstance(told, BadModel)
    assert told.message == "The model cannot be loaded: no such model type"


def test_the_first_rank_that_fails_has_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "ranks").mkdir()
    assert Emitter(tmp_path, 1).failed(judge(BadRecord("x", code="too_long", line=3)))
    assert not Emitter(tmp_path, 0).failed(judge(KeyError()))
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    event = parse_event.validate_python(json.loads(line))
    assert isinstance(event, Failed)
    assert (event.code, event.line) == ("too_long", 3)
