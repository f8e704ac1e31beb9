"""The catalogue guard finds nothing, and finds every wall that is taken down."""

import re

import asyncpg
import pytest

from tests.conftest import APPLICATION
from tests.data.catalogue import ACTS_AS_OWNER, APPEND_ONLY, CONTROL, GUARDS, OUTSIDE_TENANTS, defects
from trunkline.dev.databases import DatabaseUrls

BREAKS = [
    ("row security is enabled and forced", "messages", "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY"),
    ("row security is enabled and forced", "calls", "ALTER TABLE calls DISABLE ROW LEVEL SECURITY"),
    ("one restrictive policy binds the application to its tenant", "opt_outs", "DROP POLICY own_tenant ON opt_outs"),
    ("one restrictive policy binds the application to its tenant", "senders", "ALTER POLICY own_tenant ON senders TO PUBLIC"),
    ("one restrictive policy binds the application to its tenant", "messages", "ALTER POLICY own_tenant ON messages USING (true)"),
    ("one restrictive policy binds the application to its tenant", "calls", "ALTER POLICY own_tenant ON calls WITH CHECK (true)"),
    (
        "one restrictive policy binds the application to its tenant",
        "calls",
        """DROP POLICY own_tenant ON calls;
           CREATE POLICY own_tenant ON calls AS RESTRICTIVE FOR SELECT TO trunkline_app
             USING (tenant_id = (SELECT app.current_tenant()))""",
    ),
    ("one permissive policy and no other", "messages", "CREATE POLICY wide ON messages USING (true)"),
    ("one permissive policy and no other", "messages", "DROP POLICY open ON messages"),
    (
        "tenant_id is never null",
        "message_events",
        "ALTER TABLE message_events DROP CONSTRAINT message_events_pkey; ALTER TABLE message_events ALTER tenant_id DROP NOT NULL",
    ),
    ("tenant_id leads every unique key", "sids", "CREATE UNIQUE INDEX sids ON messages (twilio_sid)"),
    ("tenant_id leads every unique key", "sids", "CREATE UNIQUE INDEX sids ON messages (twilio_sid, tenant_id)"),
    (
        "tenant_id leads every unique key",
        "nobody_twice",
        "ALTER TABLE opt_outs ADD CONSTRAINT nobody_twice EXCLUDE USING btree (recipient WITH =)",
    ),
    (
        "tenant_id leads every foreign key",
        "loose",
        "ALTER TABLE senders ADD UNIQUE (id); ALTER TABLE messages ADD CONSTRAINT loose FOREIGN KEY (sender_id) REFERENCES senders (id)",
    ),
    (
        "tenant_id leads every foreign key",
        "crossed",
        """ALTER TABLE senders ADD UNIQUE (id, tenant_id);
           ALTER TABLE messages ADD CONSTRAINT crossed FOREIGN KEY (tenant_id, sender_id) REFERENCES senders (id, tenant_id)""",
    ),
    (
        "tenant_id leads every foreign key",
        "to_control",
        "ALTER TABLE calls ADD CONSTRAINT to_control FOREIGN KEY (tenant_id) REFERENCES control.tenants (id)",
    ),
    ("the application has four verbs and nobody else any", "messages TRUNCATE", "GRANT TRUNCATE ON messages TO trunkline_app"),
    ("the application has four verbs and nobody else any", "calls TRIGGER", "GRANT TRIGGER ON calls TO trunkline_app"),
    ("the application has four verbs and nobody else any", "tenants REFERENCES", "GRANT REFERENCES ON control.tenants TO trunkline_app"),
    ("the application has four verbs and nobody else any", "messages SELECT", "GRANT SELECT ON messages TO PUBLIC"),
    ("the application has four verbs and nobody else any", "messages.body", "GRANT SELECT (body) ON messages TO PUBLIC"),
    ("what is append-only can only be added to", "audit DELETE", "GRANT DELETE ON control.audit TO trunkline_app"),
    ("what is append-only can only be added to", "usage_events UPDATE", "GRANT UPDATE ON usage_events TO trunkline_app"),
    (
        "no partition is reached around its parent",
        "webhook_bodies_7",
        "GRANT SELECT ON webhook_bodies_7 TO trunkline_app",
    ),
    (
        "no partition is reached around its parent",
        "bodies_today",
        """CREATE TABLE bodies (tenant_id uuid NOT NULL) PARTITION BY LIST (tenant_id);
           CREATE TABLE bodies_today PARTITION OF bodies DEFAULT; GRANT SELECT ON bodies_today TO trunkline_app""",
    ),
    ("the application owns nothing", "calls", "ALTER TABLE calls OWNER TO trunkline_app"),
    ("the application owns nothing", "now", "ALTER FUNCTION app.now() OWNER TO trunkline_app"),
    ("the application owns nothing", "app", "ALTER SCHEMA app OWNER TO trunkline_app"),
    ("the application owns nothing", "scratch", "ALTER DATABASE scratch OWNER TO trunkline_app"),
    ("the application makes nothing", "app", "GRANT CREATE ON SCHEMA app TO trunkline_app"),
    ("the application makes nothing", "public", "GRANT CREATE ON SCHEMA public TO PUBLIC"),
    ("the application is and becomes nobody strong", "trunkline_app", "ALTER ROLE trunkline_app BYPASSRLS"),
    ("the application is and becomes nobody strong", "trunkline_app", "ALTER ROLE trunkline_app SUPERUSER"),
    ("the application is and becomes nobody strong", "strong", "CREATE ROLE strong BYPASSRLS; GRANT strong TO trunkline_app"),
    ("views read as who asks", "texts", "CREATE VIEW texts AS SELECT body FROM messages"),
    ("views read as who asks", "copies", "CREATE MATERIALIZED VIEW control.copies AS SELECT body FROM messages"),
    (
        "no function acts as its owner",
        "every_text",
        "CREATE FUNCTION app.every_text() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM messages'",
    ),
    (
        "what acts as its owner has a fixed search path",
        "loose",
        """CREATE FUNCTION app.loose() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public AS 'SELECT 1::bigint';
           REVOKE ALL ON FUNCTION app.loose() FROM PUBLIC""",
    ),
    (
        "what acts as its owner has a fixed search path",
        "open",
        "CREATE FUNCTION app.open() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT 1'",
    ),
    (
        "functions enter a scope for the transaction only",
        "stays",
        "CREATE FUNCTION app.stays(t uuid) RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.tenant_id', t::text, false) $$",
    ),
    (
        "no column is an enum, whose comparison reaches no index",
        "calls.mood",
        "CREATE TYPE app.mood AS ENUM ('good'); ALTER TABLE calls ADD mood app.mood",
    ),
    ("a table belongs to tenants or has its reason", "notes", "CREATE TABLE notes (id uuid PRIMARY KEY)"),
    ("a table belongs to tenants or has its reason", "hidden", "CREATE TABLE app.hidden (tenant_id uuid PRIMARY KEY)"),
    ("a table of control has its reason", "notes", "CREATE TABLE control.notes (id uuid PRIMARY KEY)"),
    ("a table of control has its reason", "folds is gone", "DROP TABLE control.folds"),
    ("control holds nothing of customers", "arrivals.recipient", "ALTER TABLE control.arrivals ADD recipient text"),
    ("control holds nothing of customers", "audit.phone_number", "ALTER TABLE control.audit ADD phone_number text"),
    ("control holds nothing of customers", "api_keys.secret_sealed", "ALTER TABLE control.api_keys ADD secret_sealed text"),
]


async def test_nothing_is_found(superuser: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await defects(superuser, APPLICATION) == set()


@pytest.mark.parametrize(("guard", "offender", "sql"), BREAKS, ids=[re.sub(r"\W+", "-", sql)[:90] for _, _, sql in BREAKS])
async def test_a_wall_taken_down_is_found(superuser: "asyncpg.Connection[asyncpg.Record]", guard: str, offender: str, sql: str) -> None:
    undone = superuser.transaction()
    await undone.start()
    try:
        await superuser.execute(sql)
        assert (guard, offender) in await defects(superuser, APPLICATION)
    finally:
        await undone.rollback()


def test_every_guard_was_seen_to_find_something() -> None:
    assert {guard for guard, _, _ in BREAKS} == GUARDS.keys()


def test_every_exception_has_its_reason() -> None:
    assert all([*CONTROL.values(), *OUTSIDE_TENANTS.values(), *APPEND_ONLY.values(), *ACTS_AS_OWNER.values()])


async def test_a_forgotten_table_of_a_tenant_is_found_whole(superuser: "asyncpg.Connection[asyncpg.Record]", scratch: DatabaseUrls) -> None:
    """A table as somebody in a hurry would make it; also that the guard sees it as the owner, who runs it in production."""
    owner = await asyncpg.connect(scratch.owner_url)
    undone = owner.transaction()
    await undone.start()
    try:
        await owner.execute(
            "CREATE TABLE bodies (id uuid PRIMARY KEY, tenant_id uuid, body text); GRANT ALL ON bodies TO trunkline_app",
        )
        found = {guard for guard, offender in await defects(owner, APPLICATION) if offender.startswith("bodies")}
    finally:
        await undone.rollback()
        await owner.close()
    assert found == {
        "row security is enabled and forced",
        "one restrictive policy binds the application to its tenant",
        "one permissive policy and no other",
        "tenant_id is never null",
        "tenant_id leads every unique key",
        "the application has four verbs and nobody else any",
    }
    assert await defects(superuser, APPLICATION) == set()
