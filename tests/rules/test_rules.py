"""Each rule beside samples that it must let pass and samples that it must find."""

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.rules.check import HOUSE, OWN_GIT, RULES, main, problems_in, problems_of
from tests.rules.text_rules import MOST_LINES

HOSTS = [
    ".".join(labels)
    for labels in (("files", "python" + "hosted", "org"), ("py" + "pi", "org"), ("registry", "npm" + "js", "org"), ("deb", "debian", "org"))
]
MACHINE = [f"/{top}/main" for top in ("work", "farm", "root")]


@dataclass(frozen=True)
class Samples:
    """Sources that a rule lets pass, and sources in which it finds exactly one thing, on the line that ends with `<<`."""

    where: str
    valid: list[str]
    invalid: list[str]
    valid_in: dict[str, str]


def sample(where: str, *, valid: list[str], invalid: list[str], valid_in: dict[str, str] | None = None) -> Samples:
    return Samples(where, valid, invalid, valid_in or {})


SAMPLES = {
    "python-time": sample(
        "messaging/pacer.py",
        valid=[
            "from runtime.clock import now, monotonic; now(), monotonic()",
            "from datetime import datetime, UTC; datetime.fromtimestamp(0, UTC), datetime.fromisoformat(text), datetime.strptime(a, b)",
            "import asyncio, time; time.sleep; asyncio.sleep(1); time.gmtime(0); time.strftime('%Y', moment); time.gmtime(*given)",
            "class Row:\n    time = 1\nrow.time(); row.now(); message.today()",  # names alone are no clock
            "import uuid; uuid.uuid4(), uuid.uuid5(space, name)",
            "def f(time): return time.time()",  # an argument, nothing imported
            "'time.time() and datetime.now() are banned'",
        ],
        invalid=[
            "import datetime; datetime.datetime.now(datetime.UTC)",
            "import datetime as dt; dt.datetime.utcnow()",
            "from datetime import datetime; datetime.today()",
            "from datetime import datetime as when; field(default_factory=when.now)",
            "from datetime import date; date.today().isoformat()",
            "import time; time.time()",
            "import time as t; t.time_ns()",
            "from time import monotonic as ticks\nticks()  # <<",
            "def f():\n    import time\n    return time.perf_counter()  # <<",
            "import time; clock = time.monotonic",
            "import time; time.localtime()",
            "import time; time.gmtime(None)",
            "import time; time.strftime('%Y')",
            *(f"import uuid; uuid.{name}()" for name in ("uuid1", "uuid6", "uuid7")),
            "import time; time.clock_gettime(time.CLOCK_REALTIME)",
            "from uuid import uuid1; uuid1()",
            "import asyncio; asyncio.get_running_loop().time()",
            "self._loop.time()",
            "loop.time() + 3",
        ],
        valid_in={
            "runtime/clock.py": "import time; time.time()",
            "tests/test_pacer.py": "import time; time.perf_counter()",
            "benchmarks/ingest.py": "import time; time.perf_counter()",
            "sandbox/twilio.py": "from datetime import datetime, UTC; datetime.now(UTC)",
            "trunkline/dev/servers.py": "import time; time.monotonic()",
        },
    ),
    "sql-time": sample(
        "messaging/outbox.py",
        valid=[
            "q = 'SELECT app.now()'",
            "q = 'SELECT id FROM messages WHERE due_at <= app.now() -- not now(), which stands still'",
            'q = """SELECT /* never now() */ \'now()\', "current_date" FROM messages WHERE m.current_time = :current_time"""',
            'q = """UPDATE messages SET error = \'timeofday() failed\' WHERE id = $1"""',
            "def f():\n    '''SELECT now() is what this function avoids.'''",
            "q = 'current_time'",  # the name of a tool
            "from sqlalchemy import func; func.app.now(), func.count(), func.known()",
            "q = 'SELECT clock_timestamp()'  # clock: measures the server against ours",
            'q = """\nSELECT clock_timestamp() -- clock: measures the server against ours\n"""',
        ],
        invalid=[
            "q = 'SELECT now()'",
            "q = 'select NOW ( )'",
            "q = 'SELECT pg_catalog.now()'",
            "q = f'UPDATE {table} SET seen_at = CURRENT_TIMESTAMP'",
            'q = """\nINSERT INTO messages (due_at)\nVALUES (current_date)  <<\n"""',
            "q = (\n    'SELECT id FROM messages '\n    'WHERE due_at < localtimestamp '  # <<\n    'ORDER BY due_at'\n)",
            "q = ' AND due_at <= now()'",  # a fragment
            "q = 'due_at <= statement_timestamp()'",
            *(f"{name}('current_time')" for name in ("text", "sa.literal_column", "connection.exec_driver_sql", "DDL")),
            "q = 'SELECT transaction_timestamp(), 1'",
            "q = 'SELECT timeofday()'",
            "q = \"SELECT 'now'::timestamptz\"",
            "q = \"SELECT timestamptz 'today'\"",
            "q = \"SELECT CAST('tomorrow' AS date)\"",
            "q = \"SELECT 'yesterday'::date\"",
            "q = \"CREATE FUNCTION f() RETURNS date AS 'SELECT current_date'\"",
            "q = 'DO $$ BEGIN -- it\\'s 5\\n PERFORM now(); END $$'",
            "from sqlalchemy import func; func.now()",
            "import sqlalchemy as sa; Column(default=sa.func.current_timestamp())",
            "from sqlalchemy import func as f; f.pg_catalog.clock_timestamp()",
        ],
        valid_in={"benchmarks/pgbench/ingest.sql": "SELECT now();", "tests/rules/test_rules.py": "q = 'SELECT now()'"},
    ),
    "scope": sample(
        "billing/ledger.py",
        valid=[
            "async with database.tenant_scope(tenant_id) as connection: await connection.execute(query)",
            "async with engine.begin() as connection: ...  # unscoped: the schema control belongs to nobody",
            "engine.execution_options(\n    isolation_level='AUTOCOMMIT',\n).connect()  # unscoped: CREATE DATABASE knows no transaction",
            "async with database.unscoped() as connection: ...  # unscoped: due tenants are read from control",
            "lock.acquire(); redis.connect(); connection.begin(); connection.begin_nested(); engine.dispose()",
            "class Database:\n    def unscoped(self): ...",
        ],
        invalid=[
            "engine.begin()",
            "self.engine.connect()",
            *(
                f"await self._pool.{method}('SELECT 1')"
                for method in ("fetch", "fetchrow", "fetchval", "execute", "executemany", "acquire")
            ),
            "engine.raw_connection()",
            "app.state.read_engine.begin()",
            "engines[0].connect()",
            "open_connection = engine.begin",
            "engine.execution_options(\n    isolation_level='AUTOCOMMIT',\n).connect()  # <<",
            "database.unscoped()",
            "from runtime.database import unscoped as everything; everything()",
            *(f"async def f(db: {kind}): return await db.connect()" for kind in ("Engine", "AsyncEngine")),
            "async def f(db: 'asyncpg.Pool[asyncpg.Record]'): return await db.fetchrow('SELECT 1')",
            *(f"db = {make}(url)\ndb.begin()  # <<" for make in ("create_engine", "create_async_engine")),
            "async with asyncpg.create_pool(url) as lane:\n    await lane.fetchval('SELECT 1')  # <<",
            *(f"import {driver}; {driver}.connect(url)" for driver in ("asyncpg", "psycopg")),
            *(f"from sqlalchemy.ext.asyncio import {name}; {name}(bind)" for name in ("AsyncSession", "async_sessionmaker")),
            *(f"from sqlalchemy.orm import {name}; {name}(bind)" for name in ("Session", "sessionmaker")),
        ],
        valid_in={
            "tests/test_isolation.py": "owner_engine.begin()",
            "benchmarks/ingest.py": "pool.acquire()",
            "trunkline/dev/servers.py": "engine.connect()",
            "migrations/env.py": "engine.connect()",
        },
    ),
    "session-state": sample(
        "runtime/database.py",
        valid=[
            "q = \"SELECT set_config('app.tenant_id', :tenant, true)\"",
            "q = \"SELECT set_config('app.tenant_id', (SELECT coalesce(id::text, '') FROM t), TRUE)\"",
            "q = \"SELECT set_config('lock_timeout', '3s', false)\"",
            "q = 'SET LOCAL lock_timeout = 1000'",
            'q = "SELECT id FROM t -- SET app.tenant_id would stay"',
            "from sqlalchemy import func; func.set_config('app.tenant_id', tenant, True); func.set_config('lock_timeout', '3s', False)",
        ],
        invalid=[
            "q = \"SELECT set_config('app.tenant_id', $1, false)\"",
            "q = \"SELECT set_config('app.tenant_id', coalesce($1, ''), $2)\"",
            "q = 'SELECT set_config(:name, :value, false)'",
            "q = \"SET app.tenant_id = 'x'\"",
            "q = \"SET LOCAL app.tenant_id TO 'x'; SELECT 1\"",
            "q = \"SET SESSION app.tenant_id = 'x'\"",
            "q = 'SET SESSION AUTHORIZATION somebody'",
            "q = \"ALTER ROLE trunkline_app SET app.tenant_id = 'x'\"",
            "from sqlalchemy import func; func.set_config('app.tenant_id', tenant, False)",
            "from sqlalchemy import func; func.set_config(name, tenant, local)",
        ],
        valid_in={"tests/test_isolation.py": "q = \"SET app.tenant_id = 'x'\""},
    ),
    "error-returned": sample(
        "api/routes/tenant.py",
        valid=[
            "Response(body)",
            "Response(body, status_code=202)",
            "Response(body, status_code=HTTP_201_CREATED)",
            "raise HTTPException(status_code=409, detail='taken')",
            "Response(body, status_code=HTTPStatus.ACCEPTED)",
        ],
        invalid=[
            "Response(body, status_code=400)",
            "litestar.Response(None, status_code=status_codes.HTTP_404_NOT_FOUND)",
            "ASGIResponse(status_code=HTTP_503_SERVICE_UNAVAILABLE)",
            "Response(body, status_code=200 if ready else 503)",
            "Response[bytes](body, status_code=HTTPStatus.CONFLICT)",
            "response.status_code = 500",
        ],
        valid_in={"api/problems.py": "Response(body, status_code=404)", "sandbox/twilio.py": "Response(body, status_code=429)"},
    ),
    "select-star": sample(
        "tenants/registry.py",
        valid=[
            "q = 'SELECT count(*) FROM messages'",
            "q = 'SELECT id, count(*) OVER (), price * quantity, (a) * b FROM messages RETURNING id'",
            "q = \"SELECT ' ' * 2, '*', -- *\\n id FROM t\"",
            "q = 'SELECT to_jsonb(m.*) FROM m'",
            "def f():\n    '''SELECT * is not for us.'''",
        ],
        invalid=[
            "q = 'SELECT * FROM messages'",
            "q = 'SELECT * FROM app.accept_v1($1)'",
            "q = 'select distinct * from messages'",
            "q = 'SELECT DISTINCT ON (tenant_id) * FROM messages'",
            "q = 'SELECT m.* FROM messages m'",
            "q = 'SELECT m.id, \"other one\".* FROM messages m'",
            "q = 'INSERT INTO messages (id) VALUES ($1) RETURNING *'",
            "q = ' RETURNING *'",
            'q = """\nWITH due AS (\n  SELECT * FROM messages  <<\n)\nSELECT id FROM due\n"""',
            "q = (\n    'SELECT id FROM ('\n    'SELECT * FROM messages) m'  # <<\n)",
        ],
        valid_in={"tests/test_migrations.py": "q = 'SELECT * FROM messages'", "benchmarks/ingest.py": "q = 'SELECT * FROM messages'"},
    ),
    "forbidden-words": sample(
        "docs/operations.md",
        valid=["work/main", "~/" + "work/", "https://docs.example/work/1", "$HOME/root/x", "an npm package", "/works/", "/rooted/"],
        invalid=[*(f"see\nhttps://{host}/simple  <<" for host in HOSTS), *(f"cd {path}" for path in MACHINE), f'"file://{MACHINE[0]}"'],
    ),
    "file-length": sample(
        "webhooks/handlers.py",
        valid=["a = 1\n" * MOST_LINES],
        invalid=["a = 1\n" * MOST_LINES + "a = 2  # <<\n"],
        valid_in={"requirements/dev.txt": "a\n" * 1000},
    ),
}


VALID = [(rule, samples.where, source) for rule, samples in SAMPLES.items() for source in samples.valid]
VALID_THERE = [(rule, where, source) for rule, samples in SAMPLES.items() for where, source in samples.valid_in.items()]
INVALID = [(rule, samples.where, source) for rule, samples in SAMPLES.items() for source in samples.invalid]


def found(where: str, source: str) -> list[tuple[str, int]]:
    return [(problem.rule, problem.line) for problem in problems_in(PurePosixPath(where), source)]


def short(value: str) -> str:
    return value[:60]


@pytest.mark.parametrize(("rule", "where", "source"), VALID + VALID_THERE, ids=short)
def test_lets_pass(rule: str, where: str, source: str) -> None:
    assert found(where, source) == [], rule


@pytest.mark.parametrize(("rule", "where", "source"), INVALID, ids=short)
def test_finds(rule: str, where: str, source: str) -> None:
    lines = source.splitlines()
    marked = [number for number, line in enumerate(lines, start=1) if line.endswith("<<")] or [1]
    assert found(where, source.replace("  <<", "    ")) == [(rule, line) for line in marked]


@pytest.mark.parametrize("rule", [rule for rule, samples in SAMPLES.items() if samples.valid_in])
def test_an_exemption_is_for_its_place_only(rule: str) -> None:
    samples = SAMPLES[rule]
    for where, source in samples.valid_in.items():
        elsewhere = (
            samples.where if where.endswith(".py") else "migrations/sql/elsewhere.sql" if where.endswith(".sql") else "billing/long.py"
        )
        assert {name for name, _ in found(elsewhere, source)} == {rule}


def test_the_runner_may_use_no_other_clock() -> None:
    assert found("trunkline/dev/servers.py", "import time; time.time()") == [("python-time", 1)]


def test_a_query_of_the_migrations_is_read_whole() -> None:
    source = textwrap.dedent("""\
        -- now() stands still inside a transaction
        CREATE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql AS
        'SELECT clock_timestamp()';  -- clock: the only place that reads it
        CREATE FUNCTION app.due() RETURNS SETOF uuid LANGUAGE plpgsql AS $body$
        BEGIN
          RETURN QUERY SELECT * FROM messages WHERE note = 'now()' AND due_at <= now();
        END $body$;
        GRANT USAGE ON SCHEMA app TO {app}; SET SESSION ROLE x;
        """)
    assert sorted(found("migrations/sql/0001/10.sql", source)) == [("select-star", 6), ("session-state", 8), ("sql-time", 6)]


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("billing/ledger.py", "engine.begin()  # unscoped:"),  # no reason
        ("billing/ledger.py", "price = 1  # unscoped: nothing is opened here"),
        ("billing/ledger.py", "q = 'SELECT app.now()'  # clock: it reads none"),
        ("migrations/sql/1.sql", "SELECT app.now(); -- clock: it reads none"),
        ("tests/test_ledger.py", "engine.begin()  # unscoped: nobody asks for it here"),
    ],
)
def test_an_excuse_needs_a_reason_and_a_use(where: str, source: str) -> None:
    assert found(where, source) == [("excuse", 1)]


def test_an_excuse_is_for_its_own_rule_and_line() -> None:
    assert found("billing/ledger.py", "engine.begin()  # clock: the wrong word") == [("scope", 1), ("excuse", 1)]
    assert found("billing/ledger.py", "engine.begin()\n# unscoped: a line too late") == [("scope", 1), ("excuse", 2)]
    assert found("billing/ledger.py", "import time\ntime.time()  # clock: Python has no excuse") == [("python-time", 2), ("excuse", 2)]


def test_a_file_that_does_not_parse_is_a_finding() -> None:
    assert found("billing/ledger.py", "a = 1\ndef (:") == [("syntax", 2)]


def test_every_rule_has_samples_and_a_reason() -> None:
    assert [rule.name for rule in RULES] == list(SAMPLES)
    assert all(rule.check.__doc__ for rule in RULES)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A repository with one finding in a committed file, one in a new file, none in an ignored file or an image."""
    subprocess.run(["git", "init", "-q", tmp_path], env=OWN_GIT, check=True)  # noqa: S603, S607  the git of whoever runs the tests
    files = {
        ".gitignore": "ignored/\n",
        "api/a.py": "engine.begin()\n",
        "billing/b.py": "q = 'SELECT * FROM t'\n",
        "ignored/c.py": "engine.begin()\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\xff" + MACHINE[0].encode() + b"/")
    subprocess.run(["git", "add", "api"], cwd=tmp_path, env=OWN_GIT, check=True)  # noqa: S607  the same
    return tmp_path


def test_committed_and_new_files_are_read_and_no_others(house: Path) -> None:
    assert [(problem.path, problem.rule) for problem in problems_of(house)] == [("api/a.py", "scope"), ("billing/b.py", "select-star")]
    assert [problem.path for problem in problems_of(house, [house / "billing"])] == ["billing/b.py"]


def test_the_command_prints_findings_and_fails(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--house", str(house), str(house / "billing")]) == 1
    assert capsys.readouterr().out == "billing/b.py:1: select-star: name the columns instead of *\n"
    assert main(["--house", str(house), "--json"]) == 1
    assert [problem["line"] for problem in json.loads(capsys.readouterr().out)] == [1, 1]
    assert main(["--house", str(house), str(house / ".gitignore")]) == 0


def test_the_command_runs_with_the_safe_path_on_from_anywhere(house: Path) -> None:
    command = [sys.executable, "-P", str(HOUSE / "tests/rules/check.py"), "--house", str(house)]
    ran = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)  # noqa: S603  this interpreter
    assert (ran.returncode, ran.stdout.count("\n"), ran.stderr) == (1, 2, "")
