import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncpg

from trunkline.dev.cluster import SUPERUSER, ensure_cluster, home_for, known_home, major_version, packaged_binaries, runnable_binaries
from trunkline.dev.databases import DatabaseUrls, ensure_owner_and_database
from trunkline.dev.embedded import EmbeddedServer, silent
from trunkline.dev.errors import StartError
from trunkline.dev.identity import Identity, choose
from trunkline.dev.ports import LOOPBACK
from trunkline.dev.private_files import kept_secret
from trunkline.dev.processes import Steps


class EmbeddedPostgres(EmbeddedServer):
    """A real PostgreSQL in a private directory, data and passwords included; see EmbeddedServer for its life."""

    name = "postgres"
    programs = frozenset({"postgres", "initdb"})

    def __init__(
        self,
        directory: Path,
        *,
        bin_dir: Path | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        identity: Identity | None = None,
        notice: Callable[[str], None] = silent,
    ) -> None:
        """`bin_dir` defaults to the packaged PostgreSQL 18; `settings` are added to ours, as in postgresql.conf.

        Without `durable` a crash of the machine loses data, a crash of the server does not. `identity` overrides the choice of who runs it.
        """
        super().__init__(directory, notice)
        self._given_bin_dir, self._given_identity = bin_dir, identity
        self._durable, self._settings = durable, dict(settings or {})
        self._bin_dir = self._data = Path()
        self.home = known_home(self.directory)

    def superuser_url(self, database: str = SUPERUSER) -> str:
        """Over TCP, for tools and fixtures; the application never gets it."""
        return f"postgresql://{SUPERUSER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def bin_dir(self) -> Path:
        """Where this server's programs stand (`psql` and `pg_dump` among them), once it has started."""
        return self._bin_dir

    async def ensure_owner_and_database(
        self, database: str = "trunkline", owner: str = "trunkline_owner", app: str = "trunkline_app"
    ) -> DatabaseUrls:
        """Makes the two roles and the database where they are missing; answers with their URLs. Safe to call again."""
        passwords = {role: kept_secret(self.directory / f"{role}.password") for role in (owner, app)}
        connection = await self._connect()
        try:
            await ensure_owner_and_database(connection, database, owner, app, passwords)
        finally:
            await connection.close()
        return DatabaseUrls(*(f"postgresql://{role}:{passwords[role]}@{LOOPBACK}:{self.port}/{database}" for role in (owner, app)))

    @property
    def _password(self) -> str:
        return kept_secret(self.directory / "superuser.password")

    async def _prepare(self) -> None:
        bin_dir = self._given_bin_dir or packaged_binaries()
        major = major_version(bin_dir)
        self.identity = self._given_identity or choose(bin_dir / "postgres")
        self.home = home_for(self.directory, self.identity)
        self._bin_dir = runnable_binaries(bin_dir, self.home, self.identity)
        self._data = await ensure_cluster(
            self._bin_dir, self.home, self.identity, self._password, major=major, durable=self._durable, log=self.log
        )

    def _argv(self) -> list[str]:
        sockets = str(self.sockets).replace('"', '""')
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "cluster_name": "trunkline",
            **self._settings,
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._bin_dir / "postgres"), "-D", str(self._data), *flags]

    def _socket_name(self) -> str:
        return ".s.PGSQL.12345"

    def _stopping(self, within: float) -> Steps:
        # INT is the fast shutdown with a last checkpoint (TERM would wait for clients to leave), QUIT the immediate one.
        return [(signal.SIGINT, within * 0.8), (signal.SIGQUIT, within * 0.2)]

    async def _answers(self) -> bool:
        try:
            connection = await self._connect()
        except asyncpg.InvalidPasswordError as error:
            raise StartError(f"PostgreSQL in {self.home} no longer knows our password: remove {self.directory} to begin anew.") from error
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=str(self.sockets), port=self.port, user=SUPERUSER, password=self._password, database=SUPERUSER, timeout=5
        )
