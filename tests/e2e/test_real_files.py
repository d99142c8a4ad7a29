"""Real public preference data from upload to model, read where it lies."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.live import Live, User
from tests.launch import alone
from tests.models import make_tiny_model

DATA = ROOT.parent / "shared" / "data"
ROOMY = "tiny/roomy"
CONTEXT = 4096

# name -> (records, pairs that the checks leave out, max_length in tokens of a tokenizer that knows few words)
FILES = {
    "orca-dpo.openai.jsonl": (284, 0, 1280),
    "hh-helpful.train.jsonl.gz": (3000, 19, 192),
}


@pytest.fixture(scope="module")
def roomy(live: Live, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a tiny model with a context of 4,096 tokens."""
    folder = make_tiny_model(tmp_path_factory.mktemp("roomy") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    live.palate("models", "add", ROOMY, str(folder))
    return ROOMY


@pytest.fixture(scope="module")
def jobs(user: User, roomy: str) -> Iterator[dict[str, str]]:
    """A job on each file that is there, one rank each, side by side."""
    with alone():
        files = {name: user.upload(DATA / name, name) for name in FILES if (DATA / name).exists()}
        settings = {"batch_size": 4, "max_steps": 2, "truncation": "drop"}
        # A tokenizer of few words makes long records of them: more than half fall out, which blocks unless accepted.
        accepted = {"accept": ["truncation"]}
        yield {
            name: user.create(roomy, file, palate=accepted, max_length=FILES[name][2], **settings)
            for name, file in files.items()
        }


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_becomes_a_model(user: User, jobs: dict[str, str], name: str) -> None:
    if name not in jobs:
        pytest.skip(f"{name} is real data that the project does not carry; it is looked for in ../shared/data")
    records, left_out, _ = FILES[name]
    file = user.judged(user.job(jobs[name])["training_file"])
    assert file["status"] == "processed", file["status_details"]
    report = user.http.get(f"/files/{file['id']}/report").json()
    assert (report["counts"]["records"], report["counts"]["usable"]) == (records, records - left_out)
    assert same_bytes(user, file["id"], DATA / name)

    done = user.succeeded(jobs[name])
    data = done["palate"]["data"]
    assert data["pairs"] + data["dropped"] + (data["held_out"] or 0) == records - left_out
    usable = data["pairs"] + (data["held_out"] or 0)
    assert data["held_out"] == (max(50, round(0.05 * usable)) if usable >= 500 else None)
    assert 10 <= data["pairs"] < records - left_out
    assert done["palate"]["progress"]["step"] == done["palate"]["progress"]["total_steps"] == 2
    assert len(user.weights(jobs[name])["model.safetensors"]) == 64


def same_bytes(user: User, file_id: str, path: Path) -> bool:
    got = user.sdk.files.content(file_id).read()
    if path.suffix == ".gz":
        assert gzip.decompress(got)  # as it was sent: nobody unpacked it on the way
    return got == path.read_bytes()
