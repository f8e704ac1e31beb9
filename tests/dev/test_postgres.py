import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from trunkline.dev.errors import StartError
from trunkline.dev.leftovers import standing_in
from trunkline.dev.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "it", durable=False) as postgres:
        yield postgres


@contextmanager
def a_process() -> Iterator[int]:
    """The number of somebody else's process."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


async def test_owner_and_application_have_the_rights_they_need_and_no_more(running: EmbeddedPostgres) -> None:
    urls = await running.ensure_owner_and_database()
    assert await running.ensure_owner_and_database() == urls
    owner = await asyncpg.connect(urls.owner_url)
    app = await asyncpg.connect(urls.app_url)
    try:
        rights = await owner.fetch(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname LIKE 'trunkline%' ORDER BY 1"
        )
        assert [tuple(row) for row in rights] == [
            ("trunkline_app", False, False, False, False),
            ("trunkline_owner", False, False, True, False),
        ]
        await owner.execute("ALTER ROLE trunkline_app SET statement_timeout = '5s'")
        await owner.execute("CREATE SCHEMA control")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("CREATE TABLE public.mine (n int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("CREATE SCHEMA mine")
    finally:
        await owner.close()
        await app.close()


async def test_a_cluster_is_utf8_in_byte_order_with_checksums_and_in_utc(running: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(running.superuser_url())
    found = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in ("server_encoding", "lc_collate", "data_checksums", "timezone", "password_encryption")
        if name != "lc_collate"
    }
    assert found == {"server_encoding": "UTF8", "data_checksums": "on", "timezone": "UTC", "password_encryption": "scram-sha-256"}
    assert await connection.fetchval("SELECT 'Z' < 'a'")
    await connection.close()


async def test_nobody_gets_in_without_the_password(running: EmbeddedPostgres) -> None:
    for host in ("127.0.0.1", str(running.sockets)):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(host=host, port=running.port, user="postgres", password="wrong", database="postgres")


def test_what_it_keeps_is_closed_to_others(running: EmbeddedPostgres) -> None:
    assert stat.S_IMODE(running.directory.stat().st_mode) == 0o700
    secrets = list(running.directory.glob("*.password"))
    assert secrets
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


async def test_a_directory_has_one_server(running: EmbeddedPostgres) -> None:
    with pytest.raises(StartError, match=f"Process {os.getpid()} already runs postgres"):
        await EmbeddedPostgres(running.directory).start()
    assert running.pid


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 60] * 3)
    async with EmbeddedPostgres(deep, durable=False) as postgres:
        short = postgres.sockets
        assert not short.is_relative_to(tmp_path)
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        assert (short / f".s.PGSQL.{postgres.port}").is_socket()
    assert not short.exists()


async def test_what_a_crash_or_a_reboot_leaves_does_not_stop_a_start(tmp_path: Path) -> None:
    directory = tmp_path / "it"
    (directory / "data.new" / "base").mkdir(parents=True)  # a creation that was killed half-way
    directory.chmod(0o700)
    async with EmbeddedPostgres(directory, durable=False) as postgres:
        port = postgres.port
    with socket.socket() as stranger, a_process() as reused:
        for pid_file in (directory / "data" / "postmaster.pid", directory / f".s.PGSQL.{port}.lock"):
            pid_file.write_text(f"{reused}\n{directory}/data\n1\n{port}\n\n127.0.0.1\n0 0\nready\n")
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        async with EmbeddedPostgres(directory, durable=False) as again:
            assert again.port != port
    assert standing_in(directory, frozenset({"postgres"})) == []


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    starting = asyncio.create_task(EmbeddedPostgres(tmp_path / "it", durable=False).start())
    while not (tmp_path / "it" / "data.new" / "base").exists():  # noqa: ASYNC110  initdb sets no event
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert standing_in(tmp_path / "it", frozenset({"postgres", "initdb"})) == []


async def test_refusals_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(StartError, match="open to other users"):
        await EmbeddedPostgres(tmp_path / "open").start()
    with pytest.raises(StartError, match="There is no PostgreSQL that runs in"):
        await EmbeddedPostgres(tmp_path / "none", bin_dir=tmp_path).start()
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    other.chmod(0o700)
    (other / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(StartError, match="belongs to PostgreSQL 9 and this is 18"):
        await EmbeddedPostgres(other).start()
    shutil.rmtree(other / "data")
    with pytest.raises(StartError, match="unrecognized configuration parameter"):
        await EmbeddedPostgres(other, durable=False, settings={"no_such_setting": "1"}).start()
    assert standing_in(tmp_path, frozenset({"postgres"})) == []
