"""The unmodified SDK, newest and 1.109.1, from upload to the last byte of the model."""

import csv
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL
from tests.e2e.live import Live, User, triples

OLD = ROOT / ".venv-openai1" / "bin" / "python"
WALK = Path(__file__).with_name("sdk_walk.py")
STEPS = 8


def walk(live: Live, python: str | Path, pairs: Path, ranks: int) -> dict[str, Any]:
    asked = {
        "base_url": live.url,
        "api_key": live.user.token,
        "file": str(pairs),
        "model": MODEL,
        "ranks": ranks,
        "hyperparameters": {"beta": 0.2, "batch_size": 8, "n_epochs": 1, "learning_rate": 1e-3, "max_steps": STEPS},
    }
    done = subprocess.run(
        [str(python), "-W", "error", str(WALK)], input=json.dumps(asked), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    ("python", "version", "ranks"),
    [pytest.param(sys.executable, "3.", 2, id="newest"), pytest.param(OLD, "1.109.1", 1, id="1.109.1")],
)
@pytest.mark.usefixtures("ranks")
def test_from_upload_to_the_last_byte(
    live: Live, user: User, pairs: Path, python: str | Path, version: str, ranks: int
) -> None:
    if not Path(python).exists():
        pytest.skip("openai 1.109.1 needs an environment of its own, which `make setup` makes")
    told = walk(live, python, pairs, ranks)
    assert told["version"].startswith(version)
    file, job = told["file"], told["job"]
    assert (file["first_status"], file["status"], file["same"], file["listed"]) == ("uploaded", "processed", True, True)
    assert told["created"]["status"] in ("validating_files", "queued")
    assert told["replayed"] == {"id": job["id"], "header": "true"}
    assert told["jobs"] == [job["id"]]
    assert job["status"] == "succeeded", job["error"]
    assert told["statuses"][-2:] == ["running", "succeeded"]
    assert set(told["statuses"]) <= {"validating_files", "queued", "running", "succeeded"}
    resolved = job["method"]["dpo"]["hyperparameters"]
    assert (resolved["beta"], resolved["max_steps"], resolved["batch_size"]) == (0.2, STEPS, 8)
    assert "auto" not in resolved.values()
    assert job["trained_tokens"] > 0
    assert job["palate"]["attempt"]["world_size"] == ranks
    told_events(told["events"])
    told_checkpoints(told["checkpoints"])
    told_files(told)
    assert told["late_cancel"] == {"code": "job_not_cancellable", "retry": "false"}
    figures(user, job["id"], told["results"])
    logs(user, job["id"], ranks)
    ranged(user, job["fine_tuned_model"], told)


def told_events(events: list[dict[str, Any]]) -> None:
    """Paged by three, newest first, none twice, one of type metrics a step."""
    assert len({event["id"] for event in events}) == len(events) > 10
    messages = [event["message"] for event in events]
    assert messages[0] == "The job has successfully completed."
    assert messages[-2].startswith("Created fine-tuning job") or messages[-1].startswith("Created fine-tuning job")
    assert [e["data"]["step"] for e in events if e["type"] == "metrics"] == list(range(STEPS, 0, -1))
    assert all(e["data"]["train_loss"] > 0 for e in events if e["type"] == "metrics")
    assert {event["object"] for event in events} == {"fine_tuning.job.event"}


def told_checkpoints(checkpoints: list[dict[str, Any]]) -> None:
    assert [each["step_number"] for each in checkpoints] == [STEPS, 4]
    assert all(each["metrics"]["train_loss"] > 0 for each in checkpoints)


def told_files(told: dict[str, Any]) -> None:
    """Each file has the bytes and the sha256 of the manifest; the model is its last checkpoint, and no other."""
    name = told["job"]["fine_tuned_model"]
    assert name.startswith(f"ft:{MODEL}:default:walk:")
    assert {MODEL, *told["downloads"]} <= set(told["models"])
    for model, files in told["downloads"].items():
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files), model
        assert all(said == came for each in files.values() for said, came in each.values()), files
    last, earlier = (told["downloads"][each["fine_tuned_model_checkpoint"]] for each in told["checkpoints"])
    assert last == told["downloads"][name]
    assert last["model.safetensors"] != earlier["model.safetensors"]
    assert told["deleted"] == [True]
    gone = told["checkpoints"][0]["fine_tuned_model_checkpoint"]  # its files are the model's too: they stay
    assert set(told["models"]) - set(told["left"]) == {gone}
    table, manifest = told["results"]
    assert (table["filename"], manifest["filename"]) == ("step_metrics.csv", "manifest.json")
    assert {table["purpose"], manifest["purpose"]} == {"fine-tune-results"}
    assert {each["path"]: each["sha256"] for each in json.loads(manifest["text"])["files"]} == {
        path: each["sha256"][0] for path, each in last.items()
    }


def figures(user: User, job_id: str, results: list[dict[str, Any]]) -> None:
    """The columns of /metrics, and the same in step_metrics.csv."""
    columns = user.http.get(f"/fine_tuning/jobs/{job_id}/metrics").json()
    assert columns["step"] == list(range(1, STEPS + 1))
    wanted = {"train_loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"}
    wanted |= {"logps/chosen", "logps/rejected", "grad_norm", "learning_rate"}
    assert wanted <= set(columns)
    assert all(len(column) == STEPS and None not in column for column in columns.values())
    rows = list(csv.DictReader(io.StringIO(results[0]["text"])))
    assert [float(row["train_loss"]) for row in rows] == columns["train_loss"]
    late = user.http.get(f"/fine_tuning/jobs/{job_id}/metrics", params={"name": "train_loss", "since_step": 6}).json()
    assert set(late) == {"step", "train_loss"}
    assert late["train_loss"] == columns["train_loss"][-len(late["step"]) :]


def logs(user: User, job_id: str, ranks: int) -> None:
    told = user.http.get(f"/fine_tuning/jobs/{job_id}/logs", params={"tail": 5}).json()
    assert [each["rank"] for each in told["data"]] == list(range(ranks))
    assert all(0 < len(each["lines"]) <= 5 for each in told["data"])


def ranged(user: User, model: str, told: dict[str, Any]) -> None:
    """A download that was cut off goes on where it ended."""
    path = f"/models/{model}/files/model.safetensors"
    size, sha256 = (told["downloads"][model]["model.safetensors"][each][0] for each in ("bytes", "sha256"))
    first = user.http.get(path, headers={"range": "bytes=0-9999"})
    rest = user.http.get(path, headers={"range": "bytes=10000-"})
    assert (first.status_code, first.headers["content-range"]) == (206, f"bytes 0-9999/{size}")
    assert rest.status_code == 206
    assert hashlib.sha256(first.content + rest.content).hexdigest() == sha256
    assert user.http.get(path, headers={"range": f"bytes={size}-"}).status_code == 416


def test_curl_with_the_file_first(live: Live, user: User, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(triples(20, seed=1))
    command = ["curl", "--silent", "--fail-with-body", f"{live.url}/files", "-H", f"Authorization: Bearer {user.token}"]
    command += ["-F", f"file=@{path}", "-F", "purpose=fine-tune"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    file = user.judged(json.loads(done.stdout)["id"])
    assert (file["status"], file["bytes"], file["filename"]) == ("processed", path.stat().st_size, "pairs.jsonl")
