"""The tables of this room; the DDL with its reasons stands in migrations/sql."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from runtime.metadata import metadata

Instant = DateTime(timezone=True)

tenants = Table(
    "tenants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("tier", Text),
    Column("max_tier", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    schema="control",
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    schema="control",
)
switches = Table(
    "switches",
    metadata,
    Column("name", Text, nullable=False),
    Column("tenant_id", Uuid),
    Column("mode", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
    schema="control",
)
assistant_routes = Table(
    "assistant_routes",
    metadata,
    Column("vapi_assistant_id", Text, primary_key=True),
    Column("tenant_id", Uuid, primary_key=True),
    schema="control",
)
sender_routes = Table(
    "sender_routes",
    metadata,
    Column("account_sid", Text, primary_key=True),
    Column("sender", Text, primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("sender_id", Uuid, nullable=False),
    schema="control",
)
arrivals = Table(
    "arrivals",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("registration_id", Uuid, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("segments", Integer, nullable=False),
    schema="control",
)
schedule = Table(
    "schedule",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("registration_id", Uuid, primary_key=True),
    Column("next_at", Instant, nullable=False),
    Column("has_work", Boolean, nullable=False),
    Column("paced_until", Instant, nullable=False),
    Column("hold_reason", Text),
    Column("held_until", Instant),
    Column("picked_by", Uuid),
    Column("picked_until", Instant, nullable=False),
    Column("queued_segments", BigInteger, nullable=False),
    Column("queued_messages", BigInteger, nullable=False),
    Column("check_at", Instant),
    schema="control",
)
duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_run", Instant, nullable=False),
    Column("holder", Uuid),
    Column("lease_until", Instant, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("last_run", Instant),
    Column("last_error", Text),
    schema="control",
)
audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant_id", Uuid),
    Column("target", Text),
    Column("detail", JSONB, nullable=False),
    schema="control",
)
assistants = Table(
    "assistants",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("vapi_assistant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
webhook_credentials = Table(
    "webhook_credentials",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("assistant_id", Uuid),
    Column("mode", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("secret_sealed", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("valid_until", Instant, nullable=False),
)
registrations = Table(
    "registrations",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("tier_source", Text, nullable=False),
    Column("segments_per_minute", Integer, nullable=False),
    Column("campaign_sid", Text),
    Column("brand_sid", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
senders = Table(
    "senders",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("registration_id", Uuid, nullable=False),
    Column("account_sid", Text, nullable=False),
    Column("auth_token_sealed", Text),
    Column("previous_auth_token_sealed", Text),
    Column("previous_token_until", Instant),
    Column("api_key_sid", Text),
    Column("api_key_secret_sealed", Text),
    Column("from_number", Text),
    Column("messaging_service_sid", Text),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
