"""What a benchmark asks PostgreSQL outside the measured path, and pgbench as the limit of the machine."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.programs import run

SAME_ROWS = Path(__file__).parent / "pgbench" / "same_rows.sql"


class EffectsDifferError(Exception):
    """The rows in the database are not what the answers promised."""


async def execute(url: str, statements: str) -> None:
    """Run statements that return nothing."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def expect(name: str, url: str, query: str, arguments: tuple[Any, ...], expected: Mapping[str, int]) -> None:
    """Compare the one row of a query of counts with what the answers promised.

    Raises:
        EffectsDifferError: a count differs; it names each that does.
    """
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchrow(query, *arguments)
    finally:
        await connection.close()
    wrong = [f"{what}: {found[what]} instead of {count}" for what, count in expected.items() if found[what] != count]
    if wrong:
        raise EffectsDifferError(f"{name} has other rows than it answered for: " + ", ".join(wrong))


async def same_rows(pgbench: Path, url: str, clients: int, seconds: float, variables: Mapping[str, str]) -> tuple[list[float], float]:
    """Write the rows of first deliveries as fast as the server takes them; their latencies and the time it took, in seconds."""
    whole = max(1, round(seconds))  # pgbench counts in whole seconds
    with tempfile.TemporaryDirectory(prefix="trunkline-pgbench-") as logs:
        argv = [str(pgbench), "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=1", f"--time={whole}"]
        argv += ["--log", f"--log-prefix={logs}/transactions", f"--file={SAME_ROWS}"]
        argv += [f"--define={name}={value}" for name, value in variables.items()]
        await run("pgbench", [*argv, url], cwd=Path(logs))
        return logged_latencies(Path(logs)), float(whole)


def logged_latencies(logs: Path) -> list[float]:
    """Seconds of each transaction; the third column of pgbench's log is in µs."""
    return [int(line.split()[2]) / 1e6 for log in logs.iterdir() for line in log.read_text().splitlines()]
