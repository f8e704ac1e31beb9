"""The metadata with every room's tables on it, for Alembic to compare with the database."""

from runtime.metadata import metadata

__all__ = ["metadata"]
