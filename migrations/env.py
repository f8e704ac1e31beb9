"""Alembic's entry: one migrator at a time, impatient with locks, as the owner role."""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from migrations.tables import metadata

MIGRATION_LOCK = 7_270_001  # any constant of ours
PATIENCE = {"lock_timeout": "3s", "statement_timeout": "15min", "idle_in_transaction_session_timeout": "5min"}


def migrate(connection: Connection) -> None:
    """Run what Alembic was asked for, alone."""
    # the lock is awaited before lock_timeout exists, else the second migrator dies of it; and committed, else Alembic would
    # take this transaction for its own and store nothing
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
    for name, value in PATIENCE.items():
        connection.exec_driver_sql(f"SET {name} = '{value}'")
    connection.commit()
    try:
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})")


async def with_connection(url: str) -> None:
    """Open the owner's connection and migrate on it."""
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(with_connection(context.config.attributes["url"]))
