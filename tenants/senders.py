"""Senders: a tenant's Twilio numbers and services, their credentials, and the registration whose tier paces them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import clock
from runtime.crypto import Keyring, SealBroken
from runtime.database import Database
from runtime.fresh import FreshCache
from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict, NotFound
from tenants import audit
from tenants.bounds import Kind, take_turn
from tenants.registrations import RegistrationRequest, put_registration
from tenants.tables import registrations, sender_routes, senders

PREVIOUS_SIGNS_FOR = "1 day"  # Twilio signs with the old token until the new one is promoted; a leaked one must not sign for ever


@dataclass(frozen=True, slots=True)
class SenderRequest:
    """A sender as a tenant declares it, with the tier that it claims; checked at the edge, the tier where it is stored."""

    account_sid: str
    tier: str
    tier_source: str
    from_number: str | None = None
    messaging_service_sid: str | None = None
    auth_token: str | None = field(default=None, repr=False)
    api_key_sid: str | None = None
    api_key_secret: str | None = field(default=None, repr=False)
    campaign_sid: str | None = None
    brand_sid: str | None = None

    @property
    def registration(self) -> RegistrationRequest:
        """What it says of its registration."""
        return RegistrationRequest(self.tier, self.tier_source, self.campaign_sid, self.brand_sid)

    @property
    def address(self) -> str:
        """What the sender is known by within its account."""
        return self.from_number or self.messaging_service_sid or ""


@dataclass(frozen=True, slots=True)
class SenderCredentials:
    """What a call to Twilio needs; `auth_tokens` sign callbacks, the newest first."""

    account_sid: str
    username: str
    password: str = field(repr=False)
    from_number: str | None
    messaging_service_sid: str | None
    auth_tokens: tuple[str, ...] = field(repr=False)


async def put_sender(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, wanted: SenderRequest, actor: str, *, default: bool
) -> UUID:
    """Add a sender, or renew the credentials and tier of one the tenant has; it creates or joins a registration.

    Raises:
        Conflict: the account's sender belongs to another tenant. Invalid: no sender can have the tier that it claims.
    """
    await take_turn(connection, tenant, Kind.SENDERS)
    sender_id = await claim_route(connection, tenant, wanted)
    existing = (
        (await connection.execute(select(senders).where(senders.c.tenant_id == tenant, senders.c.id == sender_id))).mappings().one_or_none()
    )
    current = existing["registration_id"] if existing else None
    registration_id = await put_registration(connection, tenant, wanted.registration, sender_id, current, actor)
    if default:
        await connection.execute(update(senders).where(senders.c.tenant_id == tenant, senders.c.is_default).values(is_default=False))
    values: dict[str, Any] = {
        "registration_id": registration_id,
        "auth_token_sealed": sealed(keyring, tenant, "auth_token", wanted.auth_token),
        "api_key_sid": wanted.api_key_sid,
        "api_key_secret_sealed": sealed(keyring, tenant, "api_key_secret", wanted.api_key_secret),
    }
    if default:
        values["is_default"] = True
    if existing:
        if replaces_token(keyring, tenant, existing["auth_token_sealed"], wanted.auth_token):
            values["previous_auth_token_sealed"] = existing["auth_token_sealed"]
            values["previous_token_until"] = text(f"app.now() + interval '{PREVIOUS_SIGNS_FOR}'")
        await connection.execute(
            update(senders).where(senders.c.tenant_id == tenant, senders.c.id == sender_id).values(**values, updated_at=text("app.now()"))
        )
    else:
        where = {
            "account_sid": wanted.account_sid,
            "from_number": wanted.from_number,
            "messaging_service_sid": wanted.messaging_service_sid,
        }
        await connection.execute(insert(senders).values(tenant_id=tenant, id=sender_id, **where, **values))
    await audit.record(connection, actor, "sender.put", tenant, str(sender_id), tier=wanted.tier, tier_source=wanted.tier_source)
    return sender_id


async def claim_route(connection: AsyncConnection, tenant: TenantId, wanted: SenderRequest) -> UUID:
    """The id of this account's sender: the one it has with this tenant, or a new one."""
    query = select(sender_routes).where(sender_routes.c.account_sid == wanted.account_sid, sender_routes.c.sender == wanted.address)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        sender_id = uuid7()
        try:
            await connection.execute(
                insert(sender_routes).values(account_sid=wanted.account_sid, sender=wanted.address, tenant_id=tenant, sender_id=sender_id)
            )
        except IntegrityError as error:
            raise Conflict("This sender was registered at the same moment; send the request again.") from error
        return sender_id
    if found["tenant_id"] != tenant:
        raise Conflict("This Twilio sender belongs to another tenant of this service.")
    owned: UUID = found["sender_id"]
    return owned


def sealed(keyring: Keyring, tenant: TenantId, column: str, plain: str | None) -> str | None:
    """A secret of a sender, sealed for its tenant and column."""
    return keyring.seal(plain, tenant, f"senders.{column}") if plain else None


def replaces_token(keyring: Keyring, tenant: TenantId, stored: str | None, given: str | None) -> bool:
    """Whether the given token is another one: the same one again does not push out the one before it, which Twilio may still sign with."""
    try:
        return stored is not None and keyring.open(stored, tenant, "senders.auth_token") != given
    except SealBroken:
        return False  # nobody can check with it any more; registering the sender again is how that is mended


SENDER = (
    select(
        senders.c.id,
        senders.c.registration_id,
        senders.c.account_sid,
        senders.c.from_number,
        senders.c.messaging_service_sid,
        senders.c.is_default,
        senders.c.auth_token_sealed.is_not(None).label("signed_callbacks"),
        senders.c.created_at,
        registrations.c.tier,
        registrations.c.tier_source,
        registrations.c.segments_per_minute,
        registrations.c.campaign_sid,
        registrations.c.brand_sid,
    )
    .join(registrations, (registrations.c.tenant_id == senders.c.tenant_id) & (registrations.c.id == senders.c.registration_id))
    .order_by(senders.c.id)
)


async def list_senders(connection: AsyncConnection, tenant: TenantId) -> list[dict[str, Any]]:
    """A tenant's senders without their secrets."""
    return [dict(row) for row in (await connection.execute(SENDER.where(senders.c.tenant_id == tenant))).mappings()]


async def sender_row(connection: AsyncConnection, tenant: TenantId, sender_id: UUID) -> dict[str, Any]:
    """One sender without its secrets.

    Raises:
        NotFound: the tenant has no such sender.
    """
    found = (await connection.execute(SENDER.where(senders.c.tenant_id == tenant, senders.c.id == sender_id))).mappings().one_or_none()
    if found is None:
        raise NotFound("sender")
    return dict(found)


class SenderBook:
    """Senders' credentials, opened, at most two seconds old; they never leave the process."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._credentials: FreshCache[tuple[TenantId, UUID], SenderCredentials] = FreshCache(self._load)

    async def credentials(self, tenant: TenantId, sender_id: UUID) -> SenderCredentials:
        """What a call to Twilio with this sender needs.

        Raises:
            NotFound: the tenant has no such sender.
            SealBroken: its secrets were sealed with a key that is no longer configured.
        """
        return await self._credentials.get((tenant, sender_id))

    async def _load(self, key: tuple[TenantId, UUID]) -> SenderCredentials:
        tenant, sender_id = key
        async with self._database.tenant_scope(tenant) as connection:
            query = select(senders).where(senders.c.tenant_id == tenant, senders.c.id == sender_id)
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound("sender")

        def opened(column: str, name: str) -> str | None:
            value = row[column]
            return None if value is None else self._keyring.open(value, tenant, f"senders.{name}")

        previous = row["previous_token_until"] is not None and row["previous_token_until"] > clock.now()
        tokens = [opened("auth_token_sealed", "auth_token"), opened("previous_auth_token_sealed", "auth_token") if previous else None]
        api_key_secret = opened("api_key_secret_sealed", "api_key_secret")
        with_key = row["api_key_sid"] is not None and api_key_secret is not None
        return SenderCredentials(
            account_sid=row["account_sid"],
            username=row["api_key_sid"] if with_key else row["account_sid"],
            password=(api_key_secret if with_key else tokens[0]) or "",
            from_number=row["from_number"],
            messaging_service_sid=row["messaging_service_sid"],
            auth_tokens=tuple(token for token in tokens if token),
        )
