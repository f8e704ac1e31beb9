"""A tool of a tenant's own and calls of it, as ingest would hand them on."""

import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runtime import clock
from runtime.addresses import AllowedHosts
from runtime.crypto import Keyring, new_master_key
from runtime.ids import TenantId
from sandbox import serving
from sandbox.tool import ToolSandbox
from sandbox.tool.faults import AcceptThenDelay, Delay, ResetAfter, ResetBefore, Status
from tenants.http_tools import COLUMN
from tenants.snapshot import ToolView
from webhooks.tool_answer import ToolOutcome
from webhooks.tool_http import ToolHttp
from webhooks.tool_request import ToolRequest

TENANT = TenantId(UUID("01900000-0000-7000-8000-000000000001"))
OTHER = TenantId(UUID("01900000-0000-7000-8000-000000000002"))
KEYRING = Keyring.parse(new_master_key("suite1"))
SECRET, OLD_SECRET = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"n", b"o"))
LOCAL = AllowedHosts.parse("127.0.0.1,localhost")
ASKED_AT = datetime(2026, 3, 8, 9, 59, 30, tzinfo=UTC)
KEY = "0190a1b2-book"


def tool(url: str, **more: Any) -> ToolView:
    values: dict[str, Any] = {
        "name": "book_table",
        "url": url,
        "method": "POST",
        "timeout_ms": 1_000,
        "secret_sealed": KEYRING.seal(SECRET, TENANT, COLUMN),
        "previous_secret_sealed": None,
        "repeatable": True,
        "business_arguments": (),
        "business_seconds": 600,
    }
    return ToolView(**{**values, **more})


def call(**more: Any) -> ToolRequest:
    values: dict[str, Any] = {
        "tenant": TENANT,
        "zone": ZoneInfo("America/Los_Angeles"),
        "idempotency_key": KEY,
        "asked_at": ASKED_AT,
        "arguments": {"slot": "9 am", "people": 2},
        "call_id": "call-1",
        "tool_call_id": "tool-1",
        "assistant_id": "assistant-1",
        "caller": "+12135550123",
    }
    return ToolRequest(**{**values, **more})


def soon(seconds: float = 3.0) -> float:
    return clock.monotonic() + seconds


def verified(headers: dict[str, str], body: str, secret: str) -> bool:
    """Standard Webhooks' verification, written from its specification and not from our code."""
    key = base64.b64decode(secret[len("whsec_") :])
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    versions = [each.split(",", 1) for each in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(given, expected) for version, given in versions)


@dataclass
class Endpoint:
    """The stand-in for a tenant's endpoint, in this process, and a client that calls it."""

    sandbox: ToolSandbox
    http: ToolHttp
    path: str = "/book"
    outcomes: list[ToolOutcome] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.sandbox.url + self.path

    def arm(self, *faults: Status | Delay | AcceptThenDelay | ResetAfter | ResetBefore) -> None:
        """What the next deliveries meet, one after another; each says itself how often."""
        for fault in faults:
            self.sandbox.faults.arm(fault)

    async def run(self, seconds: float = 3.0, request: ToolRequest | None = None, **more: Any) -> ToolOutcome:
        outcome = await self.http.run(tool(self.url, **more), request or call(), soon(seconds))
        self.outcomes.append(outcome)
        return outcome

    @property
    def effects(self) -> int:
        return len(self.sandbox.effects.done)

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        return list(self.sandbox.deliveries)


@asynccontextmanager
async def serving_tool(handler: Any) -> AsyncIterator[str]:
    """An endpoint of the test's own making; gives its base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with serving.running(app) as url:
        yield url


def self_signed(directory: Path, host: str) -> ssl.SSLContext:
    """The TLS of a server whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(clock.now() - timedelta(days=1)).not_valid_after(clock.now() + timedelta(days=1))
    certificate = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, hashes.SHA256())
    unprotected = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unprotected)
    (directory / "server.pem").write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context
