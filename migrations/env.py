"""Alembic's entry: online on the connection that core.db.migrate hands over, offline for review of the SQL."""

from alembic import context

from core.db.tables import Table

target_metadata = Table.metadata

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=target_metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=target_metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()
