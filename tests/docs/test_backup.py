"""The back-up command of operations.md, run as it stands by the owner role."""

import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from runtime.database import Database
from tests.docs.documents import document
from trunkline.dev.databases import DatabaseUrls


async def test_a_dump_by_the_owner_holds_every_tenants_rows(
    servers: Any, urls: DatabaseUrls, database: Database, make_tenant: Any, tmp_path: Path
) -> None:
    names = []
    for _ in range(2):
        tenant, name = await make_tenant(), f"opted-out-{uuid4().hex}"
        names.append(name)
        async with database.tenant_scope(tenant) as connection:
            opt_out = "INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (:tenant, :name, 'api')"
            await connection.execute(text(opt_out), {"tenant": tenant, "name": name})
    (command,) = (code for code in document("docs/operations.md").code if code.startswith("pg_dump "))
    env = {
        **os.environ,
        "PATH": f"{servers.postgres.bin_dir}{os.pathsep}{os.environ['PATH']}",
        "TRUNKLINE_DATABASE_OWNER_URL": urls.owner_url,
    }
    run(["bash", "-euc", command], tmp_path, env)
    restored = run(["pg_restore", "--data-only", "--table=opt_outs", "--file=-", "trunkline.dump"], tmp_path, env)
    assert all(name in restored for name in names)


def run(argv: list[str], directory: Path, env: dict[str, str]) -> str:
    ran = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  documented commands
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
