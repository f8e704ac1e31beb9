"""Refused texts are kept for 30 days, and counting texts stays cheap whatever a recipient had on other days."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from messaging.text_policy import since_id
from runtime import clock
from runtime.database import Database
from tests.retention.conftest import MakeKeeper, Owner, effect_of, id_of
from webhooks.cleanup import clean_up

READ = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE indexrelname IN ('messages_recipient_idx', 'messages_pkey')"
FLUSH = "SELECT pg_stat_force_next_flush()"
ANSWERS = {"call_full_answer": '"call"', "recipient_full_answer": '"recipient"'}
LIMITED = "SELECT outcome, answer FROM app.accept_v3($1, $2, '{}', false, 3, 10, $3, $4)"


async def put(owner: Owner, tenant: UUID, at: datetime) -> None:
    await owner.execute(
        "INSERT INTO text_refusals (tenant_id, id, at, reason, tool) VALUES ($1, $2, $3, 'premium', 'send_sms')", tenant, id_of(at), at
    )


async def test_the_clean_up_forgets_refusals_of_thirty_days_ago_and_no_others(
    owner: Owner, database: Database, make_keeper: MakeKeeper
) -> None:
    one, two = await make_keeper(), await make_keeper()
    now = clock.now()
    young, old = now - timedelta(days=29, hours=23), now - timedelta(days=30, hours=1)
    for tenant in (one, two):
        await put(owner, tenant, young)
    for _ in range(1_003):  # more than a batch
        await put(owner, one, old)
    assert (await clean_up(database, dry_run=True)).text_refusals == 1_000  # a dry run counts one batch
    assert (await clean_up(database)).text_refusals == 1_003
    kept = await owner.fetch("SELECT tenant_id, at FROM text_refusals WHERE tenant_id = ANY ($1)", [one, two])
    assert {(row["tenant_id"], row["at"]) for row in kept} == {(one, young), (two, young)}
    assert (await clean_up(database)).text_refusals == 0


@pytest.mark.parametrize("already", [0, 50, 126, 252])
async def test_a_plan_made_on_a_young_table_does_not_walk_a_recipients_other_days(
    already: int, owner: Owner, application: Owner, database: Database, make_keeper: MakeKeeper
) -> None:
    """As in test_young_tables: which index of a small table is cheaper is chance, and the plan lives on."""
    tenant = await make_keeper()
    await owner.execute("TRUNCATE messages CASCADE")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    day = tomorrow, since_id(tomorrow)
    texts = [effect_of(str(uuid4())) | ANSWERS | {"n": n, "key": uuid4().hex} for n in range(512)]
    for start in range(0, already, 7):
        await database.call_for_many(LIMITED, tenant, json.dumps(texts[start : min(start + 7, already)]), *day)
    before = await owner.fetchval(READ)
    for effect in texts[already:]:
        assert [row["outcome"] for row in await application.fetch(LIMITED, tenant, json.dumps([effect]), *day)] == ["new"]
    await application.execute(FLUSH)
    assert await owner.fetchval(READ) == before
    assert await owner.fetchval("SELECT count(*) FROM messages WHERE tenant_id = $1", tenant) == 512


async def test_a_busy_recipients_texts_of_other_days_and_of_today_are_not_walked(
    owner: Owner, application: Owner, make_keeper: MakeKeeper
) -> None:
    tenant = await make_keeper()
    await owner.execute("TRUNCATE messages CASCADE")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for day, texts in ((today - timedelta(days=3), 20_000), (today, 20_000)):
        await owner.execute(
            "INSERT INTO messages (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id,"
            " call_id, due_at, expected_at, created_at, updated_at)"
            " SELECT $1, (left($2, 14) || '7' || substr(md5(n::text), 1, 3) || '-8' || substr(md5(n::text), 4, 3) || '-'"
            " || substr(md5('m' || n), 1, 12))::uuid, '+12025550101', 'Hello', 'otp', 0, 'gsm7', 1, 'sent', $1, $1, 'c' || n,"
            " $3, $3, $3, $3"
            " FROM generate_series(1, $4) AS n",
            tenant, str(id_of(day)), day, texts,
        )  # fmt: skip
    before = await owner.fetchval(READ)
    for _ in range(20):
        effect = effect_of(str(uuid4())) | ANSWERS | {"key": uuid4().hex, "name": "send_sms"}
        rows = await application.fetch(LIMITED, tenant, json.dumps([effect]), today, since_id(today))
        assert [row["answer"] for row in rows] == ['"recipient"']
    await application.execute(FLUSH)
    assert await owner.fetchval(READ) - before <= 20 * 10
