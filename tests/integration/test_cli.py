"""The command line against a real service; the trainer is the scripted one, all else is what ships."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cli import place
from core.objects import keys
from tests.conftest import ROOT
from tests.e2e.live import Live, triples
from tests.models import CHAT_TEMPLATE, make_tiny_model
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("cli")  # one service for all of them
PALATE = (sys.executable, "-m", "cli.main")
TRAINER = f"{{python}} {ROOT}/tests/scripted_trainer.py --spec {{spec}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Live]:
    made = Live(
        tmp_path_factory.mktemp("cli") / "home", PALATE_TRAINER_COMMAND=TRAINER, PALATE_MAX_FILE_BYTES=str(1 << 30)
    )
    made.start()
    try:
        made.palate("models", "add", "tiny/llama", str(folder))
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    path.write_bytes(triples(24))
    return path


def test_a_folder_becomes_a_model_and_comes_back_the_same(live: Live, folder: Path, tmp_path: Path) -> None:
    assert "tiny/llama" in live.palate("models", "list").stdout
    assert "tiny/llama" in [model.id for model in live.user.sdk.models.list()]
    pulled = tmp_path / "pulled"
    assert "6 fetched" in live.palate("pull", "tiny/llama", str(pulled)).stdout
    assert {p.name: p.read_bytes() for p in pulled.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}

    spoiled = pulled / "model.safetensors"
    content = spoiled.read_bytes()
    spoiled.write_bytes(content[:-1] + b"!")
    (pulled / "config.json.part").write_bytes(b"left by a killed pull")
    (pulled / "config.json").unlink()
    assert "2 fetched" in live.palate("pull", "tiny/llama", str(pulled)).stdout
    assert spoiled.read_bytes() == content
    assert not list(pulled.glob("*.part"))
    assert "0 fetched" in live.palate("pull", "tiny/llama", str(pulled)).stdout


def test_a_template_given_beside_the_folder_is_stored_with_it(live: Live, folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    make_tiny_model(bare, template=None)
    assert "only files with raw_text can train it" in live.palate("models", "add", "bare", str(bare)).stderr
    given = tmp_path / "given.jinja"
    given.write_text(CHAT_TEMPLATE)
    assert "raw_text" not in live.palate("models", "add", "bare", str(bare), "--chat-template", str(given)).stderr
    live.palate("pull", "bare", str(tmp_path / "pulled"))
    assert (tmp_path / "pulled" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    assert not (bare / "chat_template.jinja").exists()


def test_a_model_of_a_project_is_seen_by_that_project(live: Live, folder: Path, tmp_path: Path) -> None:
    other = live.another_user("painters")
    live.palate("models", "add", "private", str(folder), "--project", "painters")
    assert "private" in [model.id for model in other.sdk.models.list()]
    assert "private" not in [model.id for model in live.user.sdk.models.list()]
    assert "No model 'private'" in live.palate("pull", "private", str(tmp_path / "x"), good=False).stderr
    assert "painters" in live.palate("projects", "list").stdout
    other.close()


def test_a_revoked_key_is_refused(live: Live) -> None:
    token = live.palate("keys", "create", "--name", "for a test").stdout.strip()
    key_id = token.split("_")[1]
    assert "for a test" in live.palate("keys", "list", "--project", "default").stdout
    live.palate("keys", "revoke", key_id)
    listed = live.palate("keys", "list").stdout.splitlines()
    assert "revoked" in next(line for line in listed if line.startswith(key_id))
    environment = {**live.environment, "PALATE_BASE_URL": live.url, "PALATE_API_KEY": token}
    refused = subprocess.run(
        [*PALATE, "watch", "ftjob-x"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30
    )
    assert refused.returncode == 1
    assert "wrong or revoked" in refused.stderr


def test_a_key_that_expires_is_listed_with_its_end_and_its_last_use(live: Live) -> None:
    token = live.palate("keys", "create", "--expires", "30d", "--name", "for a month").stdout.strip()

    def line(of: str) -> str:
        return next(line for line in live.palate("keys", "list").stdout.splitlines() if line.startswith(of))

    key_id = token.split("_")[1]
    end = datetime.now(UTC) + timedelta(days=30)
    assert re.search(rf"expires ({end:%Y-%m-%d}|{end - timedelta(minutes=1):%Y-%m-%d}) ..:..  never used", line(key_id))
    with httpx.Client(headers={"authorization": f"Bearer {token}"}) as http:
        assert http.get(f"{live.url}/models").status_code == 200
    until(lambda: "  used 2" in line(key_id), "its use", 10)
    assert "  good  " in line(live.user.token.split("_")[1])
    revoked = live.palate("keys", "revoke", token)
    assert revoked.stdout == f"The key {key_id} is refused within 5 seconds.\n"
    assert token.split("_")[2] not in revoked.stdout + revoked.stderr
    for age in ("0d", "30", "soon", "-1d", "99999w"):
        assert "an age is a number" in live.palate("keys", "create", f"--expires={age}", good=False).stderr


def test_training_is_followed_to_its_end_and_its_model_pulled(live: Live, pairs: Path, tmp_path: Path) -> None:
    probe = json.dumps({"steps": 4})
    command = ("train", str(pairs), "--model", "tiny/llama", "--suffix", "s", "--probe", probe, "--watch")
    refused = live.palate(*command, "--validation", str(pairs), good=False)
    assert refused.returncode == 1
    assert "train_validation_leakage (24 records, 100.0%)" in refused.stderr
    done = live.palate(*command, "--validation", str(pairs), "--accept", "train_validation_leakage")
    lines = done.stdout.splitlines()
    job = next(line for line in lines if line.startswith("ftjob-"))
    assert "succeeded  step 4/4  loss" in done.stdout
    model = live.user.job(job)["fine_tuned_model"]
    assert lines[-1] == f"{job} succeeded: {model}"
    live.palate("pull", model, str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert live.palate("watch", job).stdout.splitlines()[-1] == lines[-1]


def test_what_is_left_out_is_said_with_its_reasons(live: Live, tmp_path: Path) -> None:
    """In the event, by `plan` and by `train --watch`; exactly one half too long is refused."""
    long = {"prompt": "why " * 300, "chosen": "because it is so", "rejected": "no"}
    steered = {"prompt": "what then", "chosen": "say <|end|> now", "rejected": "no"}
    path = tmp_path / "mixed.jsonl"
    more = [{**long, "prompt": f"{long['prompt']} {n}"} for n in range(6)] + [
        {**steered, "prompt": f"{steered['prompt']} {n}"} for n in range(2)
    ]
    path.write_bytes(triples(24) + b"".join(json.dumps(each).encode() + b"\n" for each in more))
    command = (str(path), "--model", "tiny/llama", "--max-length", "128")
    reasons = "8 records left out (too_long: 6, special_token_in_text: 2)"
    assert reasons in " ".join(live.palate("plan", *command).stdout.split())
    done = live.palate("train", *command, "--watch")
    warned = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert warned[-1] == f"warning: Files validated: 24 examples, {reasons}. Queued."
    assert "truncation (6 records" in warned[0]
    assert "special_token_in_text (2 records" in warned[1]
    job = next(line for line in done.stdout.splitlines() if line.startswith("ftjob-"))
    shown = live.user.job(job)["palate"]["data"]
    assert (shown["dropped"], shown["left_out"]) == (8, {"too_long": 6, "special_token_in_text": 2})
    listed = live.user.http.get(f"/fine_tuning/jobs/{job}/events", params={"level": "warn", "limit": 100}).json()
    assert [f"warning: {each['message']}" for each in reversed(listed["data"])] == warned
    half = tmp_path / "half.jsonl"
    half.write_bytes(
        triples(16)
        + b"".join(json.dumps({**long, "prompt": f"{n} {long['prompt']}"}).encode() + b"\n" for n in range(16))
    )
    refused = live.palate("train", str(half), *command[1:], "--watch", good=False)
    assert "truncation (16 records, 50.0%)" in refused.stderr


def test_a_job_that_fails_says_why(live: Live, pairs: Path) -> None:
    probe = json.dumps({"steps": 4, "at": {"2": "exit:71"}})
    failed = live.palate("train", str(pairs), "--model", "tiny/llama", "--probe", probe, "--watch", good=False)
    assert failed.returncode == 1
    job = next(line for line in failed.stdout.splitlines() if line.startswith("ftjob-"))
    assert f"{job} failed: {live.user.job(job)['error']['message']}" in failed.stderr


def test_a_file_that_is_uploaded_already_is_named_by_its_id(live: Live) -> None:
    file_id = live.user.upload(triples(24, seed=1))
    done = live.palate("train", file_id, "--model", "tiny/llama", "--probe", json.dumps({"steps": 1}))
    assert live.user.succeeded(done.stdout.splitlines()[-1])["training_file"] == file_id


def test_a_refused_file_is_told_line_by_line(live: Live, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(triples(20) + b'{"prompt": "p", "chosen": "c"}\n{"prompt"\n')
    refused = live.palate("train", str(path), "--model", "tiny/llama", good=False)
    assert refused.returncode == 1
    assert "bad.jsonl was refused" in refused.stderr
    assert "line 21: " in refused.stderr
    assert "line 22: json_invalid: " in refused.stderr
    assert "24 pairs" not in refused.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("train", "no-such.jsonl", "--model", "tiny/llama"), "There is no file no-such.jsonl"),
        (("train", "file-none", "--model", "tiny/llama"), "file-none"),
        (("watch", "ftjob-none"), "ftjob-none"),
        (("pull", "none", "x"), "No model 'none'"),
        (("keys", "revoke", "none"), "No key none"),
        (("keys", "create", "--project", "none"), "No project 'none'"),
    ],
)
def test_what_is_not_there_is_one_sentence(live: Live, command: tuple[str, ...], said: str) -> None:
    refused = live.palate(*command, good=False)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_an_operator_names_another_deployment_by_its_database(live: Live, database_url: str, tmp_path: Path) -> None:
    def palate(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*PALATE, *command, "--home", str(live.home)],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert "revision" in palate("migrate").stdout
    assert palate("projects", "list").stdout == ""
    assert palate("projects", "create", "elsewhere").returncode == 0
    assert "elsewhere" in palate("projects", "list").stdout
    assert "elsewhere" not in live.palate("projects", "list").stdout


def test_a_plan_before_the_run(live: Live, pairs: Path) -> None:
    told = live.palate("plan", str(pairs), "--model", "tiny/llama", "--epochs", "2", "--json").stdout
    plan = json.loads(told[told.index("{") :])
    assert (plan["examples"], plan["hyperparameters"]["n_epochs"], plan["memory"]["fits"]) == (24, 2, True)
    assert plan["tokens"]["fed"] < plan["tokens"]["unshared"]
    drawn = live.palate("plan", str(pairs), "--model", "tiny/llama", "--lora", "4").stdout
    assert "24 pairs" in drawn
    assert "r 4" in drawn
    refused = live.palate("plan", str(pairs), "--model", "tiny/llama", "--target-modules", "w_proj", good=False)
    assert "q_proj" in refused.stderr


def test_records_are_shown_as_the_trainer_sees_them(live: Live, pairs: Path, tmp_path: Path) -> None:
    told = live.palate("preview", str(pairs), "--model", "tiny/llama", "--limit", "2").stdout
    assert told.count("chosen: ") == told.count("rejected: ") == 2
    first = json.loads(pairs.read_text().splitlines()[0])
    assert first["prompt"] in " ".join(told.split())
    live.palate("preview", str(pairs), "--model", "tiny/llama", "--html", str(tmp_path / "out.html"))
    assert "what the trainer sees" in (tmp_path / "out.html").read_text()


def test_the_doctor_finds_nothing_and_then_what_was_spoiled(live: Live, pairs: Path) -> None:
    """After jobs that succeeded and failed. The same number of other bytes is seen by reading alone."""
    file_id = live.user.upload(triples(24, seed=2))
    live.user.succeeded(live.palate("train", file_id, "--model", "tiny/llama").stdout.splitlines()[-1])
    healthy = live.palate("doctor", "--read").stdout
    assert healthy.splitlines()[-1].endswith("read: all hold."), healthy
    assert "ORPHAN" not in healthy
    with place.store(live.home) as store:
        size = store.head(keys.file(file_id))
        assert size
        store.put(keys.file(file_id), b"x" * size)
        store.put("jobs/ftjob-x/a1/resume/step-2/half", b"x")
        told = live.palate("doctor")
        assert "all hold" in told.stdout
        assert "ORPHAN jobs/ftjob-x/a1/resume/step-2/half: no row names it" in told.stdout
        told = live.palate("doctor", "--read", good=False)
        assert told.returncode == 1
        assert f"BROKEN files/{file_id} (file {file_id}): its sha256 is " in told.stdout
        store.delete(keys.file(file_id))
    told = live.palate("doctor", "--json", good=False)
    assert told.returncode == 1
    (lost,) = json.loads(told.stdout)["objects"]
    assert lost == {"key": f"files/{file_id}", "by": f"file {file_id}", "problem": "it is not in the store"}


def test_a_large_file_is_judged_while_it_is_still_sent(live: Live, tmp_path: Path) -> None:
    """What is wrong on its second line is told, and most of the file never sent."""
    path = tmp_path / "large.jsonl"
    first, second, *rest = triples(20_000).splitlines(keepends=True)
    path.write_bytes(b"".join([first, second.replace(b'"chosen"', b'"choosen"'), *rest * 20]))
    before = len(list(live.user.sdk.files.list()))
    refused = live.palate("train", str(path), "--model", "tiny/llama", good=False)
    assert refused.returncode == 1
    assert "line 2: field_missing: " in refused.stderr
    assert "is not sent: too_many_bad_lines: 1 of 399,962 records cannot be read" in refused.stderr
    assert len(list(live.user.sdk.files.list())) == before


# The files that hold them, and that only their owner reads.
KEY_FILES = {"secrets.json", "up.json", "connection.json", "valkey/valkey.conf", "seaweed/security.toml"} | {
    f"secrets/{name}" for name in ("database_url", "redis_url", "aws_secret_access_key")
}


def test_no_secret_stands_anywhere_but_in_its_file(live: Live, pairs: Path) -> None:
    """After all of the above, failed jobs and refused requests among them: argv, logs, events, errors, data."""
    known = json.loads((live.home / "secrets.json").read_text())
    del known["access_key"]  # the name of a key, which the store logs
    secrets = {name: value.encode() for name, value in known.items()}
    secrets["the API key"] = live.user.token.rpartition("_")[2].encode()
    failing = json.dumps({"steps": 4, "at": {"2": "exit:71"}})
    live.palate("train", str(pairs), "--model", "tiny/llama", "--probe", failing, "--watch", good=False)
    with httpx.Client(headers={"authorization": f"Bearer {live.user.token[:-1]}"}) as wrong:
        said = [wrong.get(f"{live.url}/files").content, wrong.get(f"{live.url}/nothing").content]
    for job in live.user.http.get("/fine_tuning/jobs", params={"limit": 100}).json()["data"]:
        said.append(json.dumps(job).encode())
        said += [live.user.http.get(f"/fine_tuning/jobs/{job['id']}/{each}").content for each in ("events", "logs")]
    argv = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    files = {
        path.relative_to(live.home).as_posix(): path.read_bytes()
        for path in (*live.home.rglob("*"), live.log)
        if path.is_file() and path.is_relative_to(live.home)
    }
    assert len(files) > 100
    found = [(name, where) for where, content in files.items() for name, value in secrets.items() if value in content]
    assert {where for _, where in found} == KEY_FILES
    found += [("up.log", name) for name, value in secrets.items() if value in live.log.read_bytes()]
    found += [(name, "argv or answer") for text in (*argv, *said) for name, value in secrets.items() if value in text]
    assert {where for _, where in found} == KEY_FILES
    assert [path for path in (live.home, *live.home.iterdir()) if path.stat().st_mode & 0o077] == []
    tenants = [path for name in ("scratch", "cache", "logs") for path in (live.home / name).rglob("*")]
    assert len(tenants) > 20
    assert [path for path in tenants if path.lstat().st_mode & 0o077 and not path.is_symlink()] == []
