"""Arguments, what becomes of them, and errors as one sentence."""

import argparse
import json
from pathlib import Path

import pytest
from rich.console import Console

from cli import plan, pull, service, train
from cli.arguments import parser
from cli.main import main
from cli.progress import Lines, clock
from core.contract.errors import BadInput
from core.contract.job_spec import DpoHyperparameters, JobSpec
from planning.plan import make
from tests.unit.planning.known import INSPECTION, MODEL, node


def parsed(*command: str) -> argparse.Namespace:
    return parser().parse_args(list(command))


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "PALATE_BASE_URL", "PALATE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "command",
    [
        "watch ftjob-x",
        "pull m DIR",
        "train FILE --model m",
        "plan FILE --model m",
        "keys create",
        "keys list",
        "keys revoke x",
        "projects create x",
        "projects list",
        "models list",
        "migrate",
    ],
)
def test_without_a_running_service_one_sentence_says_how_to_start_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--home", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "start it with `palate up`" in told.err
    assert told.err.startswith("palate: ")
    assert told.err.count("\n") == 1
    assert not told.out


def test_an_unusable_model_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "add", "m", str(tmp_path / "none"), "--home", str(tmp_path)]) == 1
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a b", "-a", "ft:x", "x" * 200, "a\nb"])
def test_a_name_that_could_not_be_asked_for_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", "--home", str(tmp_path), "--", name, str(tmp_path)]) == 1
    assert "A model's name" in capsys.readouterr().err


def test_an_address_without_a_key_is_half_an_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PALATE_BASE_URL", "http://127.0.0.1:9/v1")
    assert main(["watch", "ftjob-x"]) == 1
    assert "PALATE_API_KEY" in capsys.readouterr().err


def test_what_nobody_expected_is_still_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("cli.watch.run", fail)
    assert main(["watch", "x"]) == 1
    assert capsys.readouterr().err == "palate: RuntimeError: first line\n"


def test_each_flag_of_train_is_a_setting_that_the_service_knows() -> None:
    flags = (
        "--validation v --suffix s --seed 3 --gpus 2 --probe one --probe two --checkpoint-steps 5 --eval-steps 6 "
        "--epochs 2 --batch-size 8 --learning-rate 1e-5 --beta 0.2 --nll-weight 0.5 --label-smoothing 0.1 "
        "--max-steps 9 --max-length 128 --warmup-ratio 0.2 --weight-decay 0.01 --lr-schedule cosine "
        "--truncation keep_end --precision bf16"
    )
    body = train.request(parsed("train", "f", "--model", "m", *flags.split()), "file-1", "file-2")
    spec = JobSpec.model_validate(body)
    assert spec.dpo().model_dump(exclude_defaults=True) == {
        "n_epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-5,
        "beta": 0.2,
        "nll_weight": 0.5,
        "label_smoothing": 0.1,
        "max_steps": 9,
        "max_length": 128,
        "warmup_ratio": 0.2,
        "weight_decay": 0.01,
        "lr_schedule": "cosine",
        "truncation": "keep_end",
        "precision": "bf16",
    }
    assert (spec.training_file, spec.validation_file, spec.suffix, spec.seed) == ("file-1", "file-2", "s", 3)
    assert spec.palate.resources.gpus == 2
    assert spec.palate.probe_prompts == ["one", "two"]
    assert (spec.palate.checkpoint.every_steps, spec.palate.eval.every_steps) == (5, 6)


@pytest.mark.parametrize("named", ["file-1", "file-1 --validation file-2"])
def test_a_stored_file_is_not_read_anew(named: str) -> None:
    """Its texts would go another way than its owner believes."""
    given = parsed("train", *named.split(), "--model", "m", "--raw-text", "--format", "plain_triple")
    with pytest.raises(BadInput, match=r"file-1 is stored already.*leave --format, --raw-text out"):
        train.suits_upload(given, given.file, given.validation)
    train.suits_upload(parsed("train", *named.split(), "--model", "m"), given.file, given.validation)


def test_flags_of_reading_serve_the_one_that_is_uploaded(tmp_path: Path) -> None:
    (path := tmp_path / "held_out.jsonl").touch()
    given = parsed("train", "file-1", "--validation", str(path), "--model", "m", "--raw-text")
    train.suits_upload(given, given.file, given.validation)


def test_what_is_not_asked_for_is_not_sent() -> None:
    body = train.request(parsed("train", "f", "--model", "m"), "file-1", None)
    method = {"type": "dpo", "dpo": {"hyperparameters": {}}}
    assert body == {"model": "m", "training_file": "file-1", "method": method}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "..", "a\\..\\x"])
def test_a_file_is_never_written_outside_the_folder(path: str) -> None:
    with pytest.raises(BadInput, match="outside"):
        pull.entry_of({"path": path, "bytes": 1, "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("10.0.0.1", False), ("a.b", False)]
)
def test_a_proxy_is_for_other_machines(host: str, loopback: bool) -> None:
    assert service.is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("precision", "figures"),
    [("fp32", "loss 0.5000  accuracy 75.0%  margin 0.1000"), ("bf16", "loss 0.50  accuracy 75.0%  margin 0.10")],
)
def test_lines_are_said_once_and_with_no_digit_that_rounding_moves(
    capsys: pytest.CaptureFixture[str], precision: str, figures: str
) -> None:
    lines = Lines()
    method = {"dpo": {"hyperparameters": {"precision": precision}}}
    extension = {"phase": None, "queue": {"position": 2, "reason": None}, "progress": None}
    job = {"status": "queued", "method": method, "palate": extension}
    lines.show(job, {})
    lines.show(job, {})
    progress = {"step": 3, "total_steps": 9, "pairs_per_second": 2.0, "eta_seconds": 61.0}
    job |= {"status": "running", "palate": {"phase": "training", "queue": None, "progress": progress}}
    lines.show(job, {"train_loss": 0.5, "rewards/accuracies": 0.75, "rewards/margins": 0.1})
    assert capsys.readouterr().out.splitlines() == [
        "queued  position 2",
        f"training  step 3/9  {figures}  2.0 pairs/s  ETA 1:01",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (61, "1:01"), (3_725, "1:02:05")])
def test_durations_are_read_as_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_the_flags_of_lora_and_loss() -> None:
    command = ("--lora", "8", "--target-modules", "q_proj", "v_proj", "--loss", "ipo", "--export", "adapter", "model")
    body = train.request(parsed("plan", "f", "--model", "m", *command), "file-1", None)
    asked = JobSpec.model_validate(body)
    lora = asked.dpo().lora
    assert lora is not None
    assert (lora.r, lora.target_modules, asked.dpo().loss) == (8, ["q_proj", "v_proj"], "ipo")
    assert asked.palate.export == ["adapter", "model"]
    plain = JobSpec.model_validate(train.request(parsed("train", "f", "--model", "m", "--lora"), "file-1", None))
    assert plain.dpo().lora is not None
    bare = train.request(parsed("train", "f", "--model", "m"), "file-1", None)
    assert bare["method"]["dpo"]["hyperparameters"] == {}


@pytest.mark.parametrize("gibibytes", [2.0, 60.0])
def test_a_plan_drawn(gibibytes: float, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(DpoHyperparameters(), "sigmoid", INSPECTION, MODEL, [node(gibibytes)])
    plan.draw(json.loads(made.model_dump_json()), Console(width=200))
    shown = capsys.readouterr()
    assert "20 of 5 pairs" in shown.out
    assert "sigmoid, beta 0.1" in shown.out
    assert ("does not fit" in shown.out) == (gibibytes == 2.0) == ("(does_not_fit)" in shown.err)
