"""Breaking runs and replays: lease, heartbeat, fence, the thing under two ids, what a hand may run again."""

from tests.mutants.mutation import Edit, Mutation, mutation

SQL = "migrations/sql/0002/30_runs.sql"
RUNS = "webhooks/runs.py"
REPLAYS = "webhooks/replays.py"
TEST = "tests/runs/test_runs.py"
THING = "tests/runs/test_same_thing.py"
FENCE = f"{TEST}::test_the_fence_is_owner_and_attempt_together"

ROW = "WHERE tenant_id = p_tenant AND key = p_key AND state = 'in_flight' AND owner = p_owner AND attempt = p_attempt"
FINISH = f"doubtful = p_doubtful, lease_until = NULL\n  {ROW};"
RENEW = f"SET lease_until = app.now() + p_lease\n  {ROW};"
LIVES = "ELSIF p.state = 'in_flight' AND p.lease_until > v_now THEN"
TAKES = "AND (w.state = 'dead' OR (w.state = 'in_flight' AND w.lease_until <= v_now))\n    RETURNING"

MUTATIONS: tuple[Mutation, ...] = (
    mutation("a run is finished by whoever has the attempt", SQL, FINISH, FINISH.replace("AND owner = p_owner ", ""), FENCE),
    mutation("a run is finished in any attempt", SQL, FINISH, FINISH.replace(" AND attempt = p_attempt", ""), FENCE),
    mutation(
        "a run is finished whatever its state",
        SQL,
        FINISH,
        FINISH.replace(" AND state = 'in_flight' AND owner = p_owner AND attempt = p_attempt", ""),
        f"{TEST}::test_whoever_lost_the_lease_changes_nothing_and_answers_with_what_stands",
    ),
    mutation("a lease is renewed by whoever has the attempt", SQL, RENEW, RENEW.replace("AND owner = p_owner ", ""), FENCE),
    mutation("a lease is renewed in any attempt", SQL, RENEW, RENEW.replace(" AND attempt = p_attempt", ""), FENCE),
    Mutation(
        "a run is taken over while its lease lives",
        (Edit(SQL, LIVES, "ELSIF false THEN"), Edit(SQL, TAKES, "AND w.state IN ('dead', 'in_flight')\n    RETURNING")),
        (f"{TEST}::test_a_lease_that_lives_is_not_taken_over",),
    ),
    mutation(
        "the lease is not looked at again when the row is there",
        SQL,
        TAKES,
        "AND w.state IN ('dead', 'in_flight')\n    RETURNING",
        f"{TEST}::test_a_database_that_is_slow_does_not_lose_a_lease_that_lives",
    ),
    mutation(
        "a renewal counts from before its wait for the row",
        SQL,
        f"  PERFORM FROM processed_webhooks\n  {ROW} FOR UPDATE;\n",
        "",
        f"{TEST}::test_a_database_that_is_slow_does_not_lose_a_lease_that_lives",
    ),
    mutation(
        "a lease is never renewed",
        RUNS,
        "await asyncio.sleep(self._lease.total_seconds() / BEATS)",
        "await asyncio.sleep(self._lease.total_seconds() * BEATS)",
        f"{TEST}::test_a_heartbeat_keeps_a_run_longer_than_its_lease",
    ),
    mutation(
        "a beat that fails is the last one",
        RUNS,
        "                continue  # the next beat",
        "                return  # the next beat",
        f"{TEST}::test_a_database_that_goes_away_for_a_beat_does_not_lose_a_lease_that_lives",
    ),
    mutation(
        "an own run is not found again",
        SQL,
        "ELSIF p.state = 'in_flight' AND p.owner = p_owner AND p.lease_until > v_now THEN",
        "ELSIF false THEN",
        f"{TEST}::test_a_claim_whose_answer_was_lost_finds_its_own_run",
    ),
    mutation(
        "a run in doubt is repeated though it may not be",
        SQL,
        "((p.state = 'in_flight' OR p.doubtful) AND NOT p_repeatable)",
        "false",
        f"{TEST}::test_what_may_not_be_asked_twice_stays_in_doubt_for_good",
    ),
    mutation(
        "a doubt is forgotten when its run is dead",
        SQL,
        "((p.state = 'in_flight' OR p.doubtful) AND NOT p_repeatable)",
        "(p.state = 'in_flight' AND NOT p_repeatable)",
        f"{TEST}::test_after_a_fault_of_ours_what_may_not_be_asked_twice_stays_in_doubt",
    ),
    mutation(
        "whoever goes away takes the run along",
        RUNS,
        "return await asyncio.shield(task)",
        "return await task",
        f"{TEST}::test_whoever_asked_may_go_away",
    ),
    mutation(
        "a run's line on the bill is new each time",
        SQL,
        "'effect:' || encode(p_key, 'hex'), 1",
        "'effect:' || encode(p_key, 'hex') || gen_random_uuid(), 1",
        f"{TEST}::test_a_run_of_a_key_that_was_forgotten_is_no_second_line_on_the_bill",
    ),
    mutation(
        "what failed is billed",
        SQL,
        "IF p_meter IS NOT NULL AND p_state = 'done' THEN",
        "IF p_meter IS NOT NULL THEN",
        f"{TEST}::test_what_failed_for_good_is_replayed_and_not_billed",
    ),
    mutation(
        "two ids of one thing do not meet at a lock",
        SQL,
        "PERFORM pg_advisory_xact_lock(hashtextextended(p_tenant || encode(p_business, 'hex'), 0));",
        "NULL;",
        f"{THING}::test_two_ids_of_one_thing_meet_before_either_claims",
    ),
    mutation(
        "a thing has no window",
        SQL,
        " AND w.received_at > v_now - p_window\n",
        "\n",
        f"{THING}::test_after_its_window_it_is_a_thing_of_its_own",
    ),
    mutation(
        "a thing in flight under another id is not waited for",
        SQL,
        "AND (w.state IN ('done', 'in_flight') OR (",
        "AND (w.state = 'done' OR (",
        f"{THING}::test_another_id_waits_for_the_one_in_flight",
    ),
    mutation(
        "a thing in doubt is done under another id",
        SQL,
        "AND w.lease_until > v_now THEN 'wait' ELSE 'doubtful' END, w.answer",
        "AND w.lease_until > v_now THEN 'wait' END, w.answer",
        f"{THING}::test_while_nobody_knows_whether_it_was_done_another_id_does_not_do_it",
    ),
    mutation(
        "the window of a thing slides",
        SQL,
        "CASE WHEN s.verdict IS NULL THEN p_business END, p_owner",
        "p_business, p_owner",
        f"{THING}::test_the_window_counts_from_the_first",
    ),
    Mutation(
        "tool calls are replayed without the wish",
        (
            Edit(REPLAYS, "if effects != NEW and not dead:", "if False:"),
            Edit(REPLAYS, "        if effects != NEW:\n", "        if False:\n"),
        ),
        ("tests/api/test_replay.py::test_a_tool_call_is_done_anew_only_by_explicit_wish",),
    ),
    mutation(
        "what is in flight is replayed",
        REPLAYS,
        'if any(row["state"] == records.IN_FLIGHT for row in rows):',
        "if False:",
        "tests/api/test_replay.py::test_what_is_in_flight_is_refused",
    ),
)
