"""Real public preference data from upload to model, read where it lies."""

import gzip
import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.live import Live, User
from tests.models import make_tiny_model

DATA = ROOT.parent / "shared" / "data"
ROOMY = "tiny/roomy"
CONTEXT = 4096

# name -> (records, pairs that the checks leave out, max_length in tokens of a tokenizer that knows few words)
FILES = {
    "orca-dpo.openai.jsonl": (284, 0, 1536),
    "hh-helpful.train.jsonl.gz": (3000, 19, 256),
}


@pytest.fixture(scope="module")
def roomy(live: Live, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a tiny model with a context of 4,096 tokens."""
    folder = make_tiny_model(tmp_path_factory.mktemp("roomy") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    live.palate("models", "add", ROOMY, str(folder))
    return ROOMY


@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("ranks")
def test_a_real_file_becomes_a_model(user: User, roomy: str, name: str) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    records, left_out, max_length = FILES[name]
    file = user.judged(user.upload(path, name))
    assert file["status"] == "processed", file["status_details"]
    report = user.http.get(f"/files/{file['id']}/report").json()
    assert (report["counts"]["records"], report["counts"]["usable"]) == (records, records - left_out)
    assert same_bytes(user, file["id"], path)

    job = user.create(roomy, file["id"], batch_size=4, max_steps=2, max_length=max_length, truncation="drop")
    done = user.succeeded(job)
    data = done["palate"]["data"]
    assert data["pairs"] + data["dropped"] == records - left_out
    assert 10 <= data["pairs"] < records - left_out
    assert done["palate"]["progress"]["step"] == done["palate"]["progress"]["total_steps"] == 2
    assert len(user.weights(job)["model.safetensors"]) == 64


def same_bytes(user: User, file_id: str, path: Path) -> bool:
    got = user.sdk.files.content(file_id).read()
    if path.suffix == ".gz":
        assert gzip.decompress(got)  # as it was sent: nobody unpacked it on the way
    return got == path.read_bytes()
