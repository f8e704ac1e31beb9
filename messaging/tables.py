"""The tables of this room; the DDL with its reasons stands in migrations/sql."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Integer, SmallInteger, Table, Text, Uuid

from runtime.metadata import metadata

Instant = DateTime(timezone=True)

messages = Table(
    "messages",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("encoding", Text, nullable=False),
    Column("segments", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("sender_id", Uuid, nullable=False),
    Column("registration_id", Uuid, nullable=False),
    Column("call_id", Text),
    Column("due_at", Instant, nullable=False),
    Column("expected_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("lease_owner", Uuid),
    Column("lease_until", Instant),
    Column("sending_at", Instant),
    Column("looks", SmallInteger, nullable=False),
    Column("look_at", Instant),
    Column("resent", Boolean, nullable=False),
    Column("twilio_sid", Text),
    Column("twilio_status", Text),
    Column("error_code", Integer),
    Column("error_class", Text),
    Column("final_segments", SmallInteger),
    Column("sent_at", Instant),
    Column("delivered_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("retries", SmallInteger, nullable=False),
    Column("price_due", Instant),
)
message_events = Table(
    "message_events",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("message_id", Uuid, primary_key=True),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("detail", Text),
    Column("receipt", Text),
)
opt_outs = Table(
    "opt_outs",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
sender_opt_outs = Table(
    "sender_opt_outs",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("sender_id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
consent_settings = Table(
    "consent_settings",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("stop_covers", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
text_refusals = Table(
    "text_refusals",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("call_id", Text),
    Column("tool", Text, nullable=False),
)
