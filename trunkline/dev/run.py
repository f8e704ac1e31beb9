"""`trunkline dev`: everything on one machine, and the main job played once in front of whoever reads."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx

from messaging.legal_hours import rules_of
from runtime.crypto import new_master_key
from runtime.settings import SettingError
from trunkline.dev.commands import Command
from trunkline.dev.demo_tenant import Demo, demo_tenant
from trunkline.dev.errors import StartError
from trunkline.dev.ports import free_port, is_free, kept_port
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.private_files import kept_secret, kept_text, private_directory, write_private
from trunkline.dev.story import play
from trunkline.dev.supervisor import Supervisor
from trunkline.dev.valkey import EmbeddedValkey

OWNER, APPLICATION, DATABASE = "trunkline_owner", "trunkline_app", "trunkline"
LOOK_SECONDS = 2.0


def run_dev(port: int, data_dir: Path, *, demo: bool) -> int:
    """Serve until stopped, or with `demo` play the story in a directory of its own and end; answers with the exit code."""
    directory = Path(tempfile.mkdtemp(prefix="trunkline-demo-")) if demo else data_dir
    told = False
    try:
        house = House(free_port() if demo else port, directory, demo=demo)
        asyncio.run(house.live())
        told = house.told
    except StartError as error:
        click.echo(str(error), err=True)
        return 1
    finally:
        if demo:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if told or not demo else 1


@dataclass
class House:
    """All processes of one data directory."""

    port: int
    data_dir: Path
    demo: bool
    told: bool = False  # the story came to its end
    supervisor: Supervisor = field(init=False)

    def __post_init__(self) -> None:
        """Make the directory, with 0700 where it is ours to make."""
        try:
            if not self.data_dir.exists():
                private_directory(self.data_dir.absolute())
        except OSError as error:
            raise StartError(f"{self.data_dir} cannot be used ({error.strerror}): choose another DATA_DIR.") from error
        self.supervisor = Supervisor(self.data_dir)

    @property
    def base_url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.port}"

    async def live(self) -> None:
        """Start everything, tell the story, serve until stopped."""
        await self.supervisor.run(self.begin)

    async def begin(self) -> None:
        """Servers, migrations, sandboxes, worker, API, demo tenant, dev.json, story: each needs the one before."""
        if not is_free(self.port):  # here, where what a killed run left behind has been ended
            raise StartError(f"Port {self.port} is taken, or not open to you: choose another one, such as make run PORT=8081.")
        rules = rules_file()
        say = self.supervisor.notice
        say("starting PostgreSQL and Valkey ...")
        private = self.supervisor.private
        postgres, valkey = EmbeddedPostgres(private / "postgres", notice=say), EmbeddedValkey(private / "valkey", notice=say)
        await self.supervisor.start(postgres)
        await self.supervisor.start(valkey)
        urls = await postgres.ensure_owner_and_database(DATABASE, OWNER, APPLICATION)
        settings = self.settings(urls.app_url, urls.owner_url, valkey.url) | rules
        say("migrating ...")
        if code := await self.supervisor.run_once(self.trunkline("migrate", settings)):
            raise StartError(f"The migration ended with {code}; see {private / 'logs' / 'migrate.log'}.")
        say("starting the sandboxes, the API and the worker ...")
        twilio = await self.sandbox("twilio", settings, "TRUNKLINE_TWILIO_BASE_URL")
        vapi = await self.sandbox("vapi", settings, "TRUNKLINE_VAPI_BASE_URL")
        await self.supervisor.start(self.trunkline("serve", settings, ready=answers(self.base_url + "/health/ready")))
        health = f"http://127.0.0.1:{settings['TRUNKLINE_WORKER_PORT']}/health/ready"
        await self.supervisor.start(self.trunkline("worker", settings, ready=answers(health)))
        demo = await demo_tenant(self.base_url, settings["TRUNKLINE_ADMIN_KEY"], private / "demo.json")
        self.write_dev_json(settings, demo)
        say(f"\nTrunkline is ready at {self.base_url} (API page: {self.base_url}/schema; keys: {self.data_dir / 'dev.json'})\n")
        self.told = await play(self.base_url, demo, vapi, twilio, say)
        if self.demo:
            self.supervisor.ask_to_stop()
        else:
            say("\nServing until you press Ctrl-C.")

    def settings(self, app_url: str, owner_url: str, redis_url: str) -> dict[str, str]:
        """The environment of every command; what stands in ours passes through, what must fit together is ours."""
        private = self.supervisor.private
        master_key = kept_text(private / "secret_keys")
        if master_key is None:
            master_key = new_master_key("dev1")
            write_private(private / "secret_keys", master_key)
        worker_port = kept_port(private / "worker.port")
        return {
            "TRUNKLINE_LOG_FORMAT": "console",
            "TRUNKLINE_TOOL_HOSTS_ALLOWED": "127.0.0.1,localhost",
            **os.environ,
            "TRUNKLINE_DATABASE_URL": app_url,
            "TRUNKLINE_DATABASE_OWNER_URL": owner_url,
            "TRUNKLINE_REDIS_URL": redis_url,
            "TRUNKLINE_PUBLIC_BASE_URL": self.base_url,
            "TRUNKLINE_SECRET_KEYS": master_key,
            "TRUNKLINE_ADMIN_KEY": kept_secret(private / "admin_key"),
            "TRUNKLINE_ENVIRONMENT": "development",
            "TRUNKLINE_HOST": "127.0.0.1",
            "TRUNKLINE_PORT": str(self.port),
            "TRUNKLINE_WORKER_PORT": str(worker_port),
            "PYTHONUNBUFFERED": "1",
        }

    def trunkline(self, command: str, settings: Mapping[str, str], ready: Callable[[], Awaitable[bool]] | None = None) -> Command:
        """One of our own commands as a supervised process."""
        return self.supervisor.command(command, [sys.executable, "-P", "-m", "trunkline.cli", command], settings, ready=ready)

    async def sandbox(self, name: str, settings: dict[str, str], setting: str) -> str | None:
        """Start a stand-in unless the environment names another one; answers with the stand-in's address."""
        if settings.get(setting):
            return None
        port = kept_port(self.supervisor.private / f"{name}.port")
        url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-P", "-m", f"sandbox.{name}", "--port", str(port)]
        await self.supervisor.start(self.supervisor.command(f"sandbox-{name}", argv, settings, ready=answers(url)))
        settings[setting] = url
        return url

    def write_dev_json(self, settings: Mapping[str, str], demo: Demo) -> None:
        """Where everything is, for other programs."""
        document = {
            "base_url": self.base_url,
            "admin_key": settings["TRUNKLINE_ADMIN_KEY"],
            "database_url": settings["TRUNKLINE_DATABASE_URL"],
            "owner_url": settings["TRUNKLINE_DATABASE_OWNER_URL"],
            "redis_url": settings["TRUNKLINE_REDIS_URL"],
            "twilio_url": settings["TRUNKLINE_TWILIO_BASE_URL"],
            "vapi_url": settings["TRUNKLINE_VAPI_BASE_URL"],
            "demo": {"slug": demo.slug, "api_key": demo.api_key, "webhook_url": demo.webhook_url, "webhook_secret": demo.webhook_secret},
        }
        write_private(self.data_dir / "dev.json", json.dumps(document, indent=2) + "\n")


def rules_file() -> dict[str, str]:
    """The operator's rules about hours, checked before anything starts; what is relative is so to where we were started.

    Raises:
        StartError: they cannot be used.
    """
    given = os.environ.get("TRUNKLINE_QUIET_HOURS_FILE", "").strip()
    try:
        rules_of(given)
    except SettingError as error:
        raise StartError(str(error)) from error
    return {"TRUNKLINE_QUIET_HOURS_FILE": str(Path(given).absolute()) if given else ""}


def answers(url: str) -> Callable[[], Awaitable[bool]]:
    """Whether an address answers without a server error."""

    async def look() -> bool:
        try:
            async with httpx.AsyncClient(timeout=LOOK_SECONDS) as client:
                return (await client.get(url)).status_code < 500  # noqa: PLR2004  server errors
        except httpx.HTTPError:
            return False

    return look
