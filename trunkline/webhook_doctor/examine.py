"""`trunkline doctor webhook`: a captured delivery against the credentials of a tenant."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import text

from runtime.database import Database, open_database
from runtime.ids import TenantId
from runtime.settings import Settings
from tenants.credential_history import Known, every_credential
from tenants.signature_plans import SignaturePlan
from tenants.slugs import is_slug
from trunkline.webhook_doctor.bearer import bearer_findings
from trunkline.webhook_doctor.captured import Captured, Unreadable, read_capture
from trunkline.webhook_doctor.findings import Finding
from trunkline.webhook_doctor.search import signatures_in
from trunkline.webhook_doctor.signed import signature_findings

ADDRESS = "/vapi-webhook/"
LARGEST_FILE = 50_000_000
TENANT = text("SELECT id FROM control.tenants WHERE slug = :slug AND status <> 'closed'")


async def examine(settings: Settings, slug: str, file: Path) -> dict[str, Any]:
    """{tenant, accepted, arrived, findings: [{about, expected, arrived, what_to_do, holds}]}; no value of a secret or a signature is in it.

    Raises:
        Unreadable: the file holds no delivery, or there is no such tenant.
    """
    captured = read_file(file)
    database = await open_database(settings.database_url, connections=2)
    try:
        tenant = await tenant_of(database, slug)
        async with database.tenant_scope(tenant) as connection:
            credentials = await every_credential(connection, settings.keyring, tenant)
    finally:
        await database.close()
    return explain(slug, credentials, captured, settings.public_base_url)


def read_file(file: Path) -> Captured:
    """The delivery in a file.

    Raises:
        Unreadable: there is no such file, or it holds none.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise Unreadable(f"The file is over {LARGEST_FILE:,} bytes.")
        return read_capture(file.read_bytes())
    except OSError as error:
        raise Unreadable(f"The file cannot be read: {error.strerror}.") from error


async def tenant_of(database: Database, slug: str) -> TenantId:
    """The tenant of a slug.

    Raises:
        Unreadable: there is none.
    """
    async with database.unscoped() as connection:  # unscoped: a tenant's slug stands in the schema control
        found = (await connection.execute(TENANT, {"slug": slug})).scalar() if is_slug(slug) else None
    if found is None:
        raise Unreadable(f"There is no tenant {slug}: an unknown one is refused with 401 as well. Compare server.url in Vapi.")
    return TenantId(found)


def explain(slug: str, credentials: list[Known], captured: Captured, public_base_url: str) -> dict[str, Any]:
    """The verdict with its reasons, without asking anybody."""
    public_url = f"{public_base_url.rstrip('/')}{ADDRESS}{slug}"
    findings = [*address(slug, captured), *bearer_findings(credentials, captured)]
    if not any(each.holds for each in findings):
        findings += signature_findings(credentials, captured, public_url)
        findings += nothing_came(credentials, captured, findings)
    wrong_address = bool(address(slug, captured))
    return {
        "tenant": slug,
        "accepted": any(each.holds for each in findings) and not wrong_address,
        "arrived": {
            "headers": sorted({name for name, _ in captured.headers}),
            "body_bytes": None if captured.body is None else len(captured.body),
        },
        "findings": [asdict(each) for each in findings],
    }


def address(slug: str, captured: Captured) -> list[Finding]:
    """Whether it went to this tenant at all."""
    path = (captured.url or "").partition("?")[0]
    _, found, went_to = path.partition(ADDRESS)
    if captured.url is None or went_to == slug:
        return []
    arrived = f"it went to {went_to[:64]}" if found else "it went to another address"
    return [Finding("address", f"{ADDRESS}{slug}", arrived, "Correct server.url in Vapi, or name the tenant that it was meant for.")]


def nothing_came(credentials: list[Known], captured: Captured, findings: list[Finding]) -> list[Finding]:
    """A delivery without any credential, and a signature for a tenant that has none."""
    signed = bool(signatures_in(captured, SignaturePlan()))
    signs = any(isinstance(each.plan, SignaturePlan) and each.ended_at is None for each in credentials)
    if signed and not signs:
        todo = "Set the mode to hmac here with the options of Vapi's credential (PUT /v1/webhook-credential), or choose Bearer in Vapi."
        return [Finding("signature", "none: this tenant has no signing secret", "a header that looks like a signature", todo)]
    if findings:
        return []
    todo = (
        "Set server.credentialId or server.headers in Vapi for the assistant, the number or the tool that posts here. Vapi sends no "
        "credential for an assistant that stood in the request itself."
    )
    return [Finding("credential", "a secret in a header, or a signature", "neither", todo)]
