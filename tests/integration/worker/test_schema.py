"""A worker refuses an older schema, takes a newer one, and waits for a database that is not there yet."""

import subprocess
from pathlib import Path

from core.db.engine import transaction
from core.db.nodes import known
from tests.conftest import execute
from tests.integration.worker.conftest import start_worker
from tests.proxy import Proxy
from tests.waiting import until


def set_revision(service: dict[str, str], revision: str | None) -> None:
    execute(service["DATABASE_URL"], f"UPDATE alembic_version SET version_num = '{revision}'")


def is_seen() -> bool:
    """It looked for work."""
    with transaction() as session:
        return bool(known(session))


def ended(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def test_an_older_schema_ends_the_worker_with_a_word_on_what_to_do(service: dict[str, str], tmp_path: Path) -> None:
    set_revision(service, "0000")
    process = start_worker(service, tmp_path / "log")
    try:
        assert process.wait(60) == 1
    finally:
        ended(process)
    assert "palate migrate" in (tmp_path / "log").read_text()
    assert not is_seen()


def test_a_newer_schema_is_taken(service: dict[str, str], tmp_path: Path) -> None:
    set_revision(service, "9999")
    process = start_worker(service, tmp_path / "log")
    try:
        until(is_seen, "the worker's look for work")
    finally:
        ended(process)


def test_a_database_that_comes_later_is_waited_for(service: dict[str, str], tmp_path: Path) -> None:
    with Proxy(service["DATABASE_URL"]) as proxy:
        proxy.cut()
        process = start_worker(service, tmp_path / "log", DATABASE_URL=proxy.url)
        try:
            until(lambda: "the worker waits" in (tmp_path / "log").read_text(), "its word that it waits")
            proxy.heal()
            until(is_seen, "the worker's look for work")
        finally:
            ended(process)
