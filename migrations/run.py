"""Migrations by program: up to the newest, or down to a revision."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations.refusal import MigrationRefused
from runtime.database import with_driver

ROOM = Path(__file__).parent
UNCHANGED = "Nothing was changed; run the migration again"
SENTENCES = {  # by SQLSTATE: what an operator meets, and need not read a trace for
    "55P03": f"A table that the migration needs was locked by somebody for too long. {UNCHANGED} when long transactions have ended.",
    "57014": f"A statement of the migration took too long or was cancelled. {UNCHANGED} at a quieter time.",
}


def configuration(owner_url: str, app_role: str) -> Config:
    """Alembic's configuration without a file: the address comes from the settings."""
    config = Config()
    config.set_main_option("script_location", str(ROOM))
    config.set_main_option("version_path_separator", "os")
    config.attributes["url"] = with_driver(owner_url)
    config.attributes["app_role"] = app_role
    return config


def upgrade(owner_url: str, app_role: str, app_password: str | None = None, revision: str = "head") -> None:
    """Bring the schema up; safe to run twice and at once.

    `app_role` is the role of the application's address; it is created with `app_password` where it is missing.

    Raises:
        MigrationRefused: a lock was not granted in time, or the application's role is too strong; nothing was changed.
    """
    config = configuration(owner_url, app_role)
    config.attributes["app_password"] = app_password
    with in_a_sentence():
        command.upgrade(config, revision)


def downgrade(owner_url: str, app_role: str, revision: str) -> None:
    """Take the schema back to a revision ("base" empties it).

    Raises:
        MigrationRefused: a lock was not granted in time; nothing was changed.
    """
    with in_a_sentence():
        command.downgrade(configuration(owner_url, app_role), revision)


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """What the database refused for a reason that passes, as a sentence."""
    try:
        yield
    except Exception as error:
        state = getattr(getattr(error, "driver_exception", error), "sqlstate", None)
        if state in SENTENCES:
            raise MigrationRefused(SENTENCES[state]) from error
        raise


def newest() -> str:
    """The revision that this code needs."""
    return ScriptDirectory(str(ROOM)).get_current_head() or "base"
