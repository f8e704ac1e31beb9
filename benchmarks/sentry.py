"""A local receiver of Sentry events, so that the full path is measured with its reporting on."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.programs import served
from trunkline.dev.ports import free_port

ROOT = Path(__file__).parent.parent


@asynccontextmanager
async def receiver(work: Path) -> AsyncIterator[str]:
    """Runs sandbox.sentry for the length of the block; gives the DSN that leads to it."""
    port = free_port()
    health = f"http://127.0.0.1:{port}/control/items"
    argv = [sys.executable, "-P", "-m", "sandbox.sentry", "--port", str(port)]
    async with served("sandbox.sentry", argv, health, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, log=work / "sentry.log"):
        yield f"http://bench@127.0.0.1:{port}/1"
