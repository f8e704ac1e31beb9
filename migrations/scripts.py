"""Plain SQL files as migrations: readable whole, run as one script in the migration's transaction."""

from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy import Connection

SQL = Path(__file__).parent / "sql"


def run_folder(folder: str, app_role: str, *, backwards: bool = False) -> None:
    """Run every file of a folder in order of name; `{app}` stands for the application's role as an identifier, `{role}` as text."""
    quoted = op.get_bind().dialect.identifier_preparer.quote_identifier(app_role)
    for file in sorted((SQL / folder).glob("*.sql"), reverse=backwards):
        run_script(op.get_bind(), file.read_text().replace("{app}", quoted).replace("{role}", app_role.replace("'", "''")))


def run_script(connection: Connection, script: str) -> None:
    """Run many statements at once, which the driver allows only without parameters."""
    connection.exec_driver_sql("SELECT 1")  # the driver begins its transaction with the first ordinary statement
    raw: Any = connection.connection.dbapi_connection
    raw.run_async(lambda driver: driver.execute(script))
