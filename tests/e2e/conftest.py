"""One `palate up` for the whole folder; all here is in the one group of tests with ranks (tests/scheduling.py)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from core.db import engine as db
from core.db.engine import transaction
from core.db.tables import Intake, Job
from core.objects.store import Store
from tests.conftest import forget
from tests.e2e.live import Live, User, triples
from tests.launch import alone
from tests.models import make_tiny_model
from tests.waiting import until

MODEL = "tiny/llama"


@pytest.fixture(scope="package")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[Live]:
    """With one base model of all projects, its name with a slash as on the Hub."""
    running = Live(tmp_path_factory.mktemp("e2e") / "home")
    running.start()
    try:
        running.palate("models", "add", MODEL, str(model_folder))
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def user(live: Live) -> User:
    return live.user


@pytest.fixture(scope="package")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    path.write_bytes(triples(80))
    return path


@pytest.fixture
def ranks() -> Iterator[None]:
    """No other test of this machine trains meanwhile."""
    with alone():
        yield


@pytest.fixture(scope="package")
def store(live: Live) -> Iterator[Store]:
    parts = live.parts
    opened = Store(
        endpoint_url=parts["S3_ENDPOINT_URL"],
        bucket=parts["S3_BUCKET"],
        access_key=parts["AWS_ACCESS_KEY_ID"],
        secret_key=parts["AWS_SECRET_ACCESS_KEY"],
    )
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def uploads(live: Live) -> Iterator[Callable[[], list[str]]]:
    """The keys of the store's unfinished multipart uploads."""
    parts = live.parts
    session = boto3.session.Session(parts["AWS_ACCESS_KEY_ID"], parts["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    s3 = session.client("s3", endpoint_url=parts["S3_ENDPOINT_URL"])
    bucket = parts["S3_BUCKET"]
    yield lambda: [each["Key"] for each in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    s3.close()


@pytest.fixture
def inside(live: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process reads the service's own rows."""
    for name, value in live.parts.items():
        monkeypatch.setenv(name, value)
    forget()
    yield
    db.configure(None)
    forget()


@pytest.fixture
def spotless(inside: None, store: Store, uploads: Callable[[], list[str]], user: User) -> Iterator[None]:
    """After the test there is no job, file, intake, unfinished upload or object more than before."""

    def seen() -> tuple[object, ...]:
        with transaction() as session:
            rows = session.query(Job).count(), session.query(Intake).count()
        files = [file.id for file in user.sdk.files.list()]
        objects = [sorted(each.key for each in store.list(prefix)) for prefix in ("files/", "models/")]
        return rows, files, objects, uploads()

    before = seen()
    yield
    until(lambda: seen() == before, "what was there before the test, and nothing else", 20)
