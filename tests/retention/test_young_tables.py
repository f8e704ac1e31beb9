"""Looks that stay cheap on connections whose plans were made while a table was small."""

import json
from uuid import uuid4

import pytest

from runtime.database import Database
from tests.retention.conftest import ACCEPT, MakeKeeper, Owner, effect_of


@pytest.mark.parametrize("already", [0, 50, 110, 126, 168, 252])
async def test_a_plan_made_on_a_young_table_does_not_walk_a_recipients_texts(
    already: int, owner: Owner, application: Owner, database: Database, make_keeper: MakeKeeper
) -> None:
    """Which index of a small table is a page cheaper is chance; the plan of a busy connection lives on while the table grows."""
    tenant = await make_keeper()
    await owner.execute("TRUNCATE messages CASCADE")
    texts = [effect_of(str(uuid4())) | {"n": n, "key": uuid4().hex, "duplicate_answer": "{}", "same_within": 600.0} for n in range(512)]
    for start in range(0, already, 7):
        await database.call_for_many(ACCEPT, tenant, json.dumps(texts[start : min(start + 7, already)]))
    walked = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE indexrelname IN ('messages_recipient_idx', 'messages_pkey')"
    before = await owner.fetchval(walked)
    for effect in texts[already:]:
        await application.fetch(ACCEPT, tenant, json.dumps([effect]))
    await application.execute("SELECT pg_stat_force_next_flush()")
    assert await owner.fetchval(walked) == before
