"""Jobs of files and models that cannot be used: a code, a param, the line; before a rank starts where it can be known,
else in the one attempt; never a retry, never a traceback."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from core.contract.states import FailureClass
from core.db.engine import transaction
from core.db.tables import Attempt
from tests.e2e.live import Live, User
from tests.models import CHAT_TEMPLATE, make_tiny_model

FORBIDDEN = (
    "{% for m in messages %}{% if 'vortex' in m['content'] %}{{ raise_exception('no vortex') }}{% endif %}{% endfor %}"
)


def strict_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(FORBIDDEN + CHAT_TEMPLATE)


def small_table(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 64}))
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(
        tensors | {"model.embed_tokens.weight": tensors["model.embed_tokens.weight"][:64].clone()},
        path,
        {"format": "pt"},
    )


def with_nan(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.embed_tokens.weight"][5, 5] = math.nan
    save_file(tensors, path, {"format": "pt"})


def rows(**seventh: str) -> bytes:
    made = [{"prompt": f"tell me {n}", "chosen": f"a fox {n} good", "rejected": f"a fox {n} bad"} for n in range(20)]
    made[6] |= seventh
    return "".join(json.dumps(row) + "\n" for row in made).encode()


def nothing(folder: Path) -> None:
    """The model is as it should be."""


CASES: dict[str, tuple[Callable[[Path], None], bytes, dict[str, object], str, str, str]] = {
    "template": (strict_template, rows(prompt="the vortex"), {}, "template_render_failed", "training_file", "(line 7)"),
    "too long": (nothing, rows(chosen="a fox " * 60), {"truncation": "error"}, "too_long", "training_file", "(line 7)"),
    "tokenizer": (small_table, rows(), {}, "tokenizer_mismatch", "model", "64 tokens"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_job_that_no_rank_starts(live: Live, user: User, tmp_path: Path, name: str) -> None:
    spoil, data, settings, code, param, says = CASES[name]
    folder = make_tiny_model(tmp_path / "model")
    spoil(folder)
    model = f"tiny/{name.replace(' ', '-')}"
    live.palate("models", "add", model, str(folder))
    file = user.upload(data)
    assert user.judged(file)["status"] == "processed"
    max_length = {"max_length": 64} if name == "too long" else {}
    job = user.ended(user.create(model, file, **settings, **max_length))
    assert (job["status"], job["palate"]["attempt"]) == ("failed", None)
    assert (job["error"]["code"], job["error"]["param"]) == (code, param)
    assert says in job["error"]["message"]
    assert "Traceback" not in json.dumps(user.messages(job["id"]))


WEIGHTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "nan": (with_nan, "non_finite_weights", "model.embed_tokens.weight"),
}


@pytest.mark.usefixtures("ranks", "inside")
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_only_a_rank_reads(live: Live, user: User, tmp_path: Path, name: str) -> None:
    spoil, code, says = WEIGHTS[name]
    folder = make_tiny_model(tmp_path / "model")
    spoil(folder)
    live.palate("models", "add", f"tiny/{name}", str(folder))
    job = user.ended(user.create(f"tiny/{name}", user.upload(rows())))
    assert job["status"] == "failed"
    assert (job["error"]["code"], job["error"]["param"]) == (code, "model")
    assert says in job["error"]["message"]
    assert "Traceback" not in json.dumps([job["error"], user.messages(job["id"])])
    with transaction() as session:
        (attempt,) = session.query(Attempt).filter_by(job_id=job["id"])
        assert attempt.failure_class == FailureClass.USER
