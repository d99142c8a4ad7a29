"""One head; up, down and up again; and the tables of the code are those of the migrations."""

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect

from core.db.migrate import config, current, head, upgrade
from core.db.tables import Table
from tests.conftest import execute


@pytest.fixture
def empty_database(stack: dict[str, str], worker_id: str) -> Iterator[str]:
    name = f"migrations_{worker_id}"
    execute(stack["DATABASE_URL"], f'CREATE DATABASE "{name}"')
    yield stack["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
    execute(stack["DATABASE_URL"], f'DROP DATABASE "{name}" WITH (FORCE)')


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(config()).get_heads()) == 1


def test_up_down_up_and_nothing_left_to_generate(empty_database: str) -> None:
    upgrade(empty_database)
    upgrade(empty_database)
    engine = create_engine(empty_database)
    assert current(engine) == head()
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
        command.downgrade(config(connection), "base")
        assert tables(connection) == set()
    upgrade(empty_database)
    with engine.begin() as connection:
        assert tables(connection) == set(Table.metadata.tables)
    engine.dispose()
