"""The doctor as a program, beside the door: what the door refuses it explains, and what it says helps."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime import clock
from runtime.settings import Settings
from tests.api.people import PUBLIC, Tenant, tool_item, tool_message
from tests.webhooks.signing import Signer

HOUSE = Path(__file__).parents[2]
ASK = json.dumps(tool_message([tool_item("current_time", {})])).encode()


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return {
        "TRUNKLINE_DATABASE_URL": settings.database_url,
        "TRUNKLINE_SECRET_KEYS": settings.secret_keys,
        "TRUNKLINE_PUBLIC_BASE_URL": settings.public_base_url,
        "TRUNKLINE_ENVIRONMENT": "test",
        "PYTHONPATH": str(HOUSE),
    }


async def doctor(environment: dict[str, str], slug: str, file: Path, *more: str) -> tuple[int, str, str]:
    argv = ["-m", "trunkline.cli", "doctor", "webhook", "--tenant", slug, "--file", str(file), *more]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=HOUSE
    )
    out, error = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


def capture(path: Path, headers: dict[str, str], slug: str) -> Path:
    document: dict[str, Any] = {"headers": headers, "body": ASK.decode(), "received_at": clock.rfc3339(clock.now())}
    path.write_text(json.dumps({**document, "url": f"{PUBLIC}/vapi-webhook/{slug}"}))
    return path


async def test_what_it_says_of_a_refused_delivery_mends_it(tenant: Tenant, environment: dict[str, str], tmp_path: Path) -> None:
    made = await tenant.ask("PUT", "/v1/webhook-credential", {"auth": {"mode": "hmac"}, "grace_seconds": 0})
    secret = made.json()["auth"]["secret"]
    headers = Signer(secret, {"algorithm": "sha512"}).headers(ASK, str(int(clock.now().timestamp())))
    file = capture(tmp_path / "captured.json", headers, tenant.slug)
    assert (await tenant.http.post(f"/vapi-webhook/{tenant.slug}", content=ASK, headers=headers)).status_code == 401
    code, out, _ = await doctor(environment, tenant.slug, file, "--json")
    (finding,) = json.loads(out)["findings"]
    assert (code, json.loads(out)["accepted"]) == (1, False)
    assert "algorithm: 'sha512'" in finding["what_to_do"]
    code, page, _ = await doctor(environment, tenant.slug, file)
    assert (code, "refuses this delivery" in page) == (1, True)
    for private in (secret, headers["x-signature"], tenant.secret):
        assert private not in out + page
    await tenant.ask("PUT", "/v1/webhook-credential", {"auth": {"mode": "hmac", "algorithm": "sha512"}, "grace_seconds": 0})
    assert (await tenant.http.post(f"/vapi-webhook/{tenant.slug}", content=ASK, headers=headers)).status_code == 200
    code, page, _ = await doctor(environment, tenant.slug, file)
    assert (code, "lets this delivery in" in page) == (0, True)


async def test_it_knows_one_tenant_only(tenant: Tenant, other: Tenant, environment: dict[str, str], tmp_path: Path) -> None:
    file = capture(tmp_path / "captured.json", {"Authorization": f"Bearer {other.secret}"}, tenant.slug)
    code, out, _ = await doctor(environment, tenant.slug, file, "--json")
    assert (code, "a secret of this tenant" in out) == (1, True)
    assert other.secret not in out
    rotated = f"/v1/assistants/{tenant.assistant['id']}/rotate-secret"
    old = tenant.secret
    assert (await tenant.post(rotated, {"grace_seconds": 0})).status_code == 200
    code, out, _ = await doctor(environment, tenant.slug, capture(file, {"x-vapi-secret": old}, tenant.slug), "--json")
    assert (code, "which ended at" in out, old in out) == (1, True, False)


async def test_what_it_cannot_read_is_one_sentence(tenant: Tenant, environment: dict[str, str], tmp_path: Path) -> None:
    file = capture(tmp_path / "captured.json", {}, tenant.slug)
    (tmp_path / "nonsense").write_text("hello")
    for slug, path in (("nobody-here", file), ("No Slug", file), (tenant.slug, tmp_path / "nonsense"), (tenant.slug, tmp_path / "missing")):
        code, out, error = await doctor(environment, slug, path)
        assert (code, out, len(error.strip().splitlines())) == (2, "", 1)
