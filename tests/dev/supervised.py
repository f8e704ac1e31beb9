"""Program under test: `supervised.py DATA_DIR NAME…` supervises both servers and small commands, and says on stdout what happens."""

import asyncio
import json
import os
import sys
from pathlib import Path

import asyncpg
import click
from redis.asyncio import Redis

from trunkline.dev.commands import Command
from trunkline.dev.embedded import EmbeddedServer
from trunkline.dev.errors import StartError
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.private_files import write_private
from trunkline.dev.supervisor import Supervisor
from trunkline.dev.valkey import EmbeddedValkey

IDLE = "import time; print('idle', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {IDLE}"
PARENT = f"import subprocess; subprocess.Popen(['sleep', '600']); {IDLE}"
PROGRAMS = {"deaf": DEAF, "parent": PARENT}


async def supervise(data_dir: Path, commands: list[str]) -> None:
    supervisor = Supervisor(data_dir, stop_within=4.0)

    async def story() -> None:
        postgres = EmbeddedPostgres(supervisor.private / "postgres", durable=False, notice=supervisor.notice)
        valkey = EmbeddedValkey(supervisor.private / "valkey", notice=supervisor.notice)
        await supervisor.start(postgres)
        await supervisor.start(valkey)
        started: list[Command] = []
        for name in commands:
            argv = [sys.executable, "-c", PROGRAMS.get(name, IDLE), name]
            started.append(supervisor.command(name, argv, os.environ, echo=True))
            await supervisor.start(started[-1])
        services: list[EmbeddedServer | Command] = [postgres, valkey, *started]
        state = {
            "database_url": (await postgres.ensure_owner_and_database()).owner_url,
            "redis_url": valkey.url,
            "visits": await visits((await postgres.ensure_owner_and_database()).owner_url, valkey.url),
            "pids": {service.name: service.pid for service in services},
            "user": os.geteuid(),
        }
        write_private(data_dir / "state.json", json.dumps(state))

    await supervisor.run(story)


async def visits(database_url: str, redis_url: str) -> list[int]:
    """How often this data was visited, according to each of the two servers."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS visits (id bigserial)")
    await connection.execute("INSERT INTO visits DEFAULT VALUES")
    by_postgres = await connection.fetchval("SELECT count(*) FROM visits")
    await connection.close()
    client = Redis.from_url(redis_url)
    by_valkey = await client.incr("visits")
    await client.aclose()
    return [by_postgres, by_valkey]


if __name__ == "__main__":
    try:
        asyncio.run(supervise(Path(sys.argv[1]), sys.argv[2:]))
    except StartError as error:
        click.echo(f"refused: {error}")
        sys.exit(1)
