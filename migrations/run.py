"""Migrations by program: up to the newest, or down to a revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from runtime.database import with_driver

ROOM = Path(__file__).parent


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
    """
    config = configuration(owner_url, app_role)
    config.attributes["app_password"] = app_password
    command.upgrade(config, revision)


def downgrade(owner_url: str, app_role: str, revision: str) -> None:
    """Take the schema back to a revision ("base" empties it)."""
    command.downgrade(configuration(owner_url, app_role), revision)


def newest() -> str:
    """The revision that this code needs."""
    return ScriptDirectory(str(ROOM)).get_current_head() or "base"
