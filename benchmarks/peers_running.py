"""The other limiters of `make bench-pacer`: installed when it runs, each in processes of its own, and named where one does not run."""

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent
HERE = ROOT / "benchmarks" / "peers"
PINS = ROOT / "requirements" / "peers.txt"
VENV = ROOT / ".venv.peers"
IN_PYTHON = ("pyrate-limiter", "throttled-py token bucket", "throttled-py GCRA")
IN_NODE = ("clustered Bottleneck",)
PEERS = (*IN_PYTHON, *IN_NODE)
INSTALL_SECONDS, GRACE_SECONDS = 240.0, 75.0  # the start of all processes included


async def install() -> dict[str, str]:
    """Make what the peers need: pinned by hash, or by exact version. Gives why, by name of those that cannot run."""
    python, node = await asyncio.gather(install_python(), install_node())
    return {**({} if python is None else dict.fromkeys(IN_PYTHON, python)), **({} if node is None else dict.fromkeys(IN_NODE, node))}


async def install_python() -> str | None:
    """A virtual environment of their own; instant when it is there."""
    stamp, wanted = VENV / ".peers", hashlib.sha256(PINS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    shutil.rmtree(VENV, ignore_errors=True)
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", str(PINS)]
    for argv in ([sys.executable, "-I", "-m", "venv", str(VENV)], [str(VENV / "bin" / "python"), *pip]):
        fault = await step(argv, ROOT)
        if fault is not None:
            return fault
    stamp.write_text(wanted)
    return None


async def install_node() -> str | None:
    """The packages of peers/package.json; without a lock file, which would name where they were fetched."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "Node.js with npm is not on the path"
    stamp, wanted = HERE / "node_modules" / ".peers", hashlib.sha256((HERE / "package.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    fault = await step([npm, "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], HERE)
    if fault is None:
        stamp.write_text(wanted)
    return fault


async def step(argv: Sequence[str], cwd: Path) -> str | None:
    """One program to its end; the last line of what it says where it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    return await ended(process, None, INSTALL_SECONDS, argv[0])


def processes(names: Sequence[tuple[str, int, int]]) -> int:
    """How many processes `run` starts for these."""
    return sum(any(side in some for side, _, _ in names) for some in (IN_PYTHON, IN_NODE))


async def run(names: Sequence[tuple[str, int, int]], wanted: dict[str, Any], seconds: float) -> dict[str, str]:
    """One process of the run for each language: (side, rate, number) of what it runs. Gives what failed, by side."""
    begun = []
    for some, argv in ((IN_PYTHON, [str(VENV / "bin" / "python"), "limiters.py"]), (IN_NODE, ["node", "bottleneck.mjs"])):
        sides = [each for each in names if each[0] in some]
        if sides:
            document = json.dumps({**wanted, "seconds": seconds, "sides": sides, "redisAt": redis_at(wanted["redis"])}).encode()
            begun.append(one(argv, document, seconds, [side for side, _, _ in sides]))
    return {side: fault for failed in await asyncio.gather(*begun) for side, fault in failed.items()}


async def one(argv: Sequence[str], document: bytes, seconds: float, sides: Sequence[str]) -> dict[str, str]:
    """A process; whatever becomes of it is told under the names of its sides."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=HERE, stdin=pipe, stdout=pipe, stderr=pipe)
    failed: dict[str, str] = {}
    fault = await ended(process, document, seconds + GRACE_SECONDS, argv[-1], failed)
    return failed if fault is None else {**dict.fromkeys(sides, fault), **failed}


async def ended(
    process: asyncio.subprocess.Process, document: bytes | None, seconds: float, name: str, answer: dict[str, str] | None = None
) -> str | None:
    """Wait for a process' end, and end it where it takes too long; its JSON answer goes into `answer`. Gives what went wrong."""
    try:
        async with asyncio.timeout(seconds):
            out, said = await process.communicate(document)
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"{Path(name).name} did not end within {seconds:.0f} s"
    if process.returncode:
        lines = (said or out).decode(errors="replace").strip().splitlines()
        return f"{Path(name).name} ended with {process.returncode}: {lines[-1][:200] if lines else 'it said nothing'}"
    if answer is not None:
        answer.update(json.loads(out))
    return None


def redis_at(url: str) -> dict[str, Any]:
    """The address as ioredis takes it."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return {"path": unquote(parts.path)}
    return {"host": parts.hostname, "port": parts.port, **({"password": unquote(parts.password)} if parts.password else {})}
