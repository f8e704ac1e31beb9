"""The seed recipe as a side of the ingest benchmark: one Node process on the same PostgreSQL."""

import secrets
import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import databases, programs
from benchmarks.load import Target
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres

RECIPE = Path(__file__).parent / "peers" / "seed_recipe"
NODE_MAJOR = 18  # what Express 5 asks for


@dataclass
class SeedRecipe:
    """Express 5, pg, one UPSERT, Bottleneck; see peers/seed_recipe/server.mjs."""

    work: Path
    name: str = "seed recipe"
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    port: int = field(default_factory=free_port)
    database_url: str = ""

    async def prepare(self, postgres: EmbeddedPostgres) -> None:
        """Install what it needs and make its database.

        Raises:
            SystemExit: Node.js is missing or too old.
        """
        await install()
        urls = await postgres.ensure_owner_and_database("seed_recipe", "seed_recipe_owner", "seed_recipe_app")
        self.database_url = urls.owner_url
        await databases.execute(self.database_url, (RECIPE / "schema.sql").read_text())

    @property
    def log(self) -> Path:
        """What its process has to say."""
        return self.work / "seed_recipe.log"

    @property
    def target(self) -> Target:
        """Where its deliveries go."""
        return Target(self.name, self.port, "/vapi-webhook", self.secret, replay_mark=b'"already processed."')

    def serve(self) -> AbstractAsyncContextManager[int]:
        """The Node process; a new one for each round, so that the texts waiting in its memory stay few."""
        env = {"NODE_ENV": "production", "PORT": str(self.port), "DATABASE_URL": self.database_url, "WEBHOOK_SECRET": self.secret}
        health = f"http://127.0.0.1:{self.port}/health"
        return programs.served(self.name, ["node", "server.mjs"], health, cwd=RECIPE, env=env, log=self.log)

    async def verify(self, firsts: int, duplicates: int) -> None:
        """One row per first delivery, each duplicate counted."""
        query = "SELECT count(*) AS rows, coalesce(sum(deliveries), 0) AS deliveries FROM processed_webhooks"
        await databases.expect(self.name, self.database_url, query, (), {"rows": firsts, "deliveries": firsts + duplicates})


async def install() -> None:
    """Its packages, pinned by the lock file, unless they stand there already.

    Raises:
        SystemExit: Node.js is missing or too old.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit(f"The seed recipe needs Node.js {NODE_MAJOR} or newer with npm: `node` or `npm` is not on the path.")
    version = (await programs.run("node", [node, "--version"], cwd=RECIPE)).strip()
    if int(version.removeprefix("v").split(".")[0]) < NODE_MAJOR:
        raise SystemExit(f"The seed recipe needs Node.js {NODE_MAJOR} or newer: `node` is {version}.")
    lock, installed = RECIPE / "package-lock.json", RECIPE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        await programs.run("npm ci", [npm, "ci", "--no-audit", "--no-fund"], cwd=RECIPE)
