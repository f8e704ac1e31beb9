"""The tables of this room; the DDL with its reasons stands in migrations/sql."""

from sqlalchemy import Boolean, Column, Date, DateTime, Integer, LargeBinary, Numeric, SmallInteger, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from runtime.metadata import metadata

Instant = DateTime(timezone=True)

processed_webhooks = Table(
    "processed_webhooks",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("webhook_id", Uuid, nullable=False),
    Column("place", SmallInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("call_id", Text),
    Column("assistant_id", Text),
    Column("tool_call_id", Text),
    Column("name", Text),
    Column("arguments", Text),
    Column("answer", Text, nullable=False),
    Column("message_id", Uuid),
    Column("duplicates", Integer, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("caller", Text),
    Column("owner", Uuid),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Instant),
    Column("doubtful", Boolean, nullable=False),
    Column("business", LargeBinary),
    Column("reason", Text),
    Column("replay_of", Uuid),
)
webhook_bodies = Table(
    "webhook_bodies",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("webhook_id", Uuid, primary_key=True),
    Column("kept_days", SmallInteger, primary_key=True),
    Column("kept_on", Date, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
calls = Table(
    "calls",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("assistant_id", Text),
    Column("state", Text, nullable=False),
    Column("state_rank", SmallInteger, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("seconds", Numeric),
    Column("estimated_seconds", Numeric),
    Column("cost_usd", Numeric),
    Column("ended_reason", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("reported_at", Instant),
    Column("reported_by", Text),
    Column("looks", SmallInteger, nullable=False),
    Column("look_at", Instant),
    Column("told", JSONB, nullable=False),
    Column("phone_number_id", Text),
    Column("call_type", Text),
    Column("customer_masked", Text),
    Column("customer_sealed", Text),
    Column("forgotten_at", Instant),
    Column("corrections", SmallInteger, nullable=False),
)
call_contents = Table(
    "call_contents",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("transcript_sealed", Text),
    Column("summary_sealed", Text),
    Column("kept_until", Instant, nullable=False),
)
call_activity = Table(
    "call_activity",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
)
