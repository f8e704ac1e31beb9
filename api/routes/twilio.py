"""Where Twilio reports: status callbacks and inbound texts, form-encoded, signed over the public address."""

from uuid import UUID

from litestar import Request, post
from litestar.datastructures import State
from litestar.params import FromPath
from sqlalchemy import select

from api.wiring import Wiring, wiring_of
from messaging import signature
from messaging.callback_urls import check_callback_token
from messaging.receipts import record_inbound, record_receipt
from messaging.tables import messages
from runtime import sentry
from runtime.refusals import Forbidden, NotFound
from tenants.snapshot import Snapshot

DESCRIPTION = "Form-encoded; `X-Twilio-Signature` over the public address. 204, or 403 on a bad signature."


@post(
    "/twilio/{tenant_slug:str}/status/{message_id:uuid}",
    status_code=204,
    tags=["Twilio"],
    summary="A status callback",
    description=DESCRIPTION,
)
async def twilio_status(request: Request[object, object, State], tenant_slug: FromPath[str], message_id: FromPath[UUID]) -> None:
    """Record what became of a text."""
    sentry.transaction("POST /twilio/{tenant_slug}/status/{message_id}")
    wiring = wiring_of(request.app.state)
    tenant = await tenant_of(wiring, tenant_slug)
    token = request.query_params.get("s", "")
    if not check_callback_token(wiring.keyring, tenant.id, message_id, token):
        raise Forbidden("The address of this callback was not made here.")
    form = await form_of(request)
    async with wiring.database.tenant_scope(tenant.id) as connection:
        query = select(messages.c.sender_id).where(messages.c.tenant_id == tenant.id, messages.c.id == message_id)
        sender_id = (await connection.execute(query)).scalar()
    if sender_id is None:
        raise NotFound("message")
    tokens = (await wiring.senders.credentials(tenant.id, sender_id)).auth_tokens
    if tokens:  # without one the token in the address alone authenticates, and the sender shows a warning
        check_signature(request, wiring, form, tokens)
    async with wiring.database.tenant_scope(tenant.id) as connection:
        await record_receipt(connection, tenant.id, message_id, dict(form))


@post("/twilio/{tenant_slug:str}/inbound", status_code=204, tags=["Twilio"], summary="An inbound text", description=DESCRIPTION)
async def twilio_inbound(request: Request[object, object, State], tenant_slug: FromPath[str]) -> None:
    """Count it, and follow what it says about consent."""
    sentry.transaction("POST /twilio/{tenant_slug}/inbound")
    wiring = wiring_of(request.app.state)
    tenant = await tenant_of(wiring, tenant_slug)
    form = await form_of(request)
    named = dict(form)
    tokens: list[str] = []
    for sender in tenant.senders:
        credentials = await wiring.senders.credentials(tenant.id, sender.id)
        reached = credentials.from_number == named.get("To") or (
            credentials.messaging_service_sid is not None and credentials.messaging_service_sid == named.get("MessagingServiceSid")
        )
        if credentials.account_sid == named.get("AccountSid") and reached:
            tokens.extend(credentials.auth_tokens)
    check_signature(request, wiring, form, tuple(tokens))
    async with wiring.database.tenant_scope(tenant.id) as connection:
        await record_inbound(connection, tenant.id, named)


async def tenant_of(wiring: Wiring, slug: str) -> Snapshot:
    """The tenant of the address; an unknown one looks like a bad signature.

    Raises:
        Forbidden: there is none.
    """
    tenant = await wiring.tenants.by_slug(slug)
    if tenant is None:
        raise Forbidden("The signature does not match.")
    sentry.bind_tenant(tenant.tags)
    return tenant


async def form_of(request: Request[object, object, State]) -> list[tuple[str, str]]:
    """The parameters as sent, blank and repeated ones included; a NUL, which no row can hold, is dropped."""
    form = await request.form()
    return [(name, value.replace("\x00", "")) for name, value in form.multi_items() if isinstance(value, str)]


def check_signature(request: Request[object, object, State], wiring: Wiring, form: list[tuple[str, str]], tokens: tuple[str, ...]) -> None:
    """Whether Twilio signed this request to our public address.

    Raises:
        Forbidden: it did not.
    """
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or request.url.path
    url = wiring.settings.public_base_url.rstrip("/") + path + (f"?{query}" if query else "")
    header = request.headers.get(signature.SIGNATURE_HEADER, "")
    settings = request.headers.get(signature.SETTINGS_HEADER, "")
    if not signature.check(url, header, auth_tokens=tokens, parameters=form, settings=settings):
        raise Forbidden("The signature does not match.")
