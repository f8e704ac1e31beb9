"""The tables of this room; the DDL stands in migrations/sql/0001 (20_control.sql, 60_billing.sql)."""

from sqlalchemy import Column, DateTime, ForeignKey, Index, Integer, Numeric, SmallInteger, Table, Text, UniqueConstraint, Uuid, text

from runtime.metadata import metadata

NOW = text("app.now()")

plans = Table(
    "plans",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("base_fee", Numeric, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    UniqueConstraint("name", "version"),
    schema="control",
)

plan_prices = Table(
    "plan_prices",
    metadata,
    Column("plan_id", Uuid, ForeignKey("control.plans.id"), primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("included", Numeric, nullable=False, server_default=text("0")),
    Column("unit_price", Numeric, nullable=False),
    Column("per", Numeric, nullable=False, server_default=text("1")),
    schema="control",
)

usage_events = Table(
    "usage_events",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("source_id", Text, primary_key=True),
    Column("quantity", Numeric, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Index("usage_events_occurred_idx", "tenant_id", "occurred_at", "meter", postgresql_include=["quantity"]),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("plan_id", Uuid, ForeignKey("control.plans.id"), nullable=False),
    Column("timezone", Text, nullable=False),
    Column("anchor_day", SmallInteger, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Index("subscriptions_current_idx", "tenant_id", unique=True, postgresql_where=text("ended_at IS NULL")),
)
