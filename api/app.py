"""The application factory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme, Tag

from api.bodies import fit_for_us
from api.callers import admin_only, provide_caller, tenant_only
from api.documented_keys import document_keys
from api.documented_problems import document_problems
from api.edge import Edge
from api.once import OncePerKey
from api.problems import answer_problem
from api.routes.admin import ControlAdmin, TenantAdmin
from api.routes.answerers import AnswererRoutes
from api.routes.assistant_setup import AssistantSetupRoutes
from api.routes.assistants import AssistantRoutes
from api.routes.bodies import BodyRoutes
from api.routes.calls import CallRoutes
from api.routes.consent import ConsentRoutes
from api.routes.dead_letters import DeadLetterRoutes
from api.routes.health import live, metrics_page, ready
from api.routes.inbound_routes import InboundRouteRoutes
from api.routes.messages import MessageRoutes
from api.routes.opening_hours import OpeningHoursRoutes
from api.routes.opt_outs import OptOutRoutes
from api.routes.plans import PlanAdmin
from api.routes.privacy import PrivacyRoutes
from api.routes.published_tools import published_tools
from api.routes.queue import QueueAdmin, QueueRoutes
from api.routes.quiet_hours import QuietHoursRoutes
from api.routes.retention import RetentionRoutes
from api.routes.senders import SenderRoutes
from api.routes.text_policy import TextPolicyRoutes, TextRefusalRoutes
from api.routes.tiers import RegistrationAdmin, TierAdmin
from api.routes.tools import ToolRoutes
from api.routes.transfer_directory import TransferDirectoryRoutes
from api.routes.twilio import twilio_inbound, twilio_status
from api.routes.usage import UsageRoutes
from api.routes.vapi import TEMPLATE, WebhookDoor, documented
from api.routes.vapi_account import VapiAccountRoutes
from api.routes.webhook_credential import WebhookCredentialRoutes
from api.routes.webhooks import WebhookRoutes
from api.wiring import wire
from runtime.settings import Settings

LARGEST_BODY = 65_536
DESCRIPTION = """
The backend behind a fleet of Vapi voice assistants: webhooks are handled **once**, texts leave **within the rules** of each
tenant's Twilio registration, and every call second and segment is **accounted for**.

Errors are `application/problem+json` (RFC 9457) with a `request_id`. Lists take `limit` and `cursor` and answer
`{"items": [...], "next_cursor": null}`. Times are RFC 3339 in UTC, money is decimal text with a currency.
"""


def create_app(settings: Settings, schema: str) -> Litestar:
    """The Litestar application; `schema` is the revision that it needs to be ready."""

    @asynccontextmanager
    async def wired(app: Litestar) -> AsyncIterator[None]:
        wiring = await wire(settings)
        app.state.wiring = wiring
        app.state.schema = schema
        async with wiring.running():
            yield

    tenant_routes = Router(
        path="/",
        route_handlers=[
            AssistantRoutes,
            AssistantSetupRoutes,
            WebhookCredentialRoutes,
            VapiAccountRoutes,
            SenderRoutes,
            MessageRoutes,
            DeadLetterRoutes,
            ToolRoutes,
            InboundRouteRoutes,
            TransferDirectoryRoutes,
            AnswererRoutes,
            published_tools,
            OpeningHoursRoutes,
            QueueRoutes,
            QuietHoursRoutes,
            ConsentRoutes,
            OptOutRoutes,
            TextPolicyRoutes,
            TextRefusalRoutes,
            WebhookRoutes,
            BodyRoutes,
            PrivacyRoutes,
            RetentionRoutes,
            CallRoutes,
            UsageRoutes,
        ],
        guards=[tenant_only],
        middleware=[OncePerKey()],
        dependencies={"caller": Provide(provide_caller)},
        before_request=fit_for_us,
        security=[{"tenantKey": []}],
    )
    admin_routes = Router(
        path="/",
        route_handlers=[TenantAdmin, ControlAdmin, PlanAdmin, TierAdmin, RegistrationAdmin, QueueAdmin],
        guards=[admin_only],
        middleware=[OncePerKey()],
        before_request=fit_for_us,
        security=[{"adminKey": []}],
    )
    health = [live, ready] if settings.metrics_port else [live, ready, metrics_page]
    app = Litestar(
        route_handlers=[twilio_status, twilio_inbound, tenant_routes, admin_routes, *health],
        lifespan=[wired],
        exception_handlers={HTTPException: answer_problem, Exception: answer_problem},
        request_max_body_size=LARGEST_BODY,
        openapi_config=openapi(),
        logging_config=None,
        debug=False,
    )
    paths = app.openapi_schema.paths or {}
    app.openapi_schema.paths = {TEMPLATE: documented(), **paths}
    document_keys(app.openapi_schema)
    document_problems(app.openapi_schema)
    return app


def create_edge(settings: Settings, schema: str) -> Edge:
    """What a server runs: the application inside its outermost layer."""
    return Edge(WebhookDoor(create_app(settings, schema)))


def openapi() -> OpenAPIConfig:
    """The document at /schema/openapi.json and its page at /schema."""
    bearer: dict[str, SecurityScheme | Reference] = {
        name: SecurityScheme(type="http", scheme="bearer", description=what) for name, what in KEYS.items()
    }
    return OpenAPIConfig(
        title="Trunkline",
        version="1",
        description=DESCRIPTION,
        components=Components(security_schemes=bearer),
        render_plugins=[SwaggerRenderPlugin()],
        use_handler_docstrings=True,
        tags=[Tag(name, description) for name, description in TAGS.items()],
    )


KEYS = {
    "tenantKey": "A tenant's key, or the operator's with the header `X-Tenant: {slug}`.",
    "adminKey": "The operator's key.",
    "webhookSecret": "A secret of an assistant or a tenant; also accepted in `X-Vapi-Secret`. Or an HMAC over the body.",
}
TAGS = {
    "Vapi": "What Vapi posts.",
    "Twilio": "What Twilio reports.",
    "Assistants": "A tenant's assistants and their webhook secrets.",
    "Senders": "A tenant's Twilio senders and their tiers.",
    "Messages": "Texts.",
    "Tools": "HTTP endpoints of the tenant's own that its assistants may call.",
    "Answers": "What is answered where Vapi asks: who takes a call, where to put it through to, what an endpoint of the tenant's own says.",
    "Webhooks": "What was delivered and answered.",
    "Calls": "Phone calls with their seconds and cost.",
    "Usage": "Usage, the current invoice, limits.",
    "Admin": "For the operator.",
    "Health": "For machines.",
}
