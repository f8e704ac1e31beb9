"""Breaking the claim: the unique key, the look after it, the locks, the modes of the switch."""

from tests.mutants.mutation import Edit, Mutation, mutation

ACCEPT = "migrations/sql/0005/40_abuse.sql"
RUNS = "migrations/sql/0002/30_runs.sql"
RECORDS = "migrations/sql/0003/60_calls.sql"
CLAIMS = "webhooks/claims.py"
ONCE = "tests/api/test_once.py"
CALLS = "tests/api/test_once_calls.py"
SAME = "tests/api/test_same_text.py"
LIMITS = "tests/api/test_text_limits.py"

CLAIM = """      ON CONFLICT (tenant_id, key) DO NOTHING
      RETURNING webhook_id, place
    ), mine AS ("""
LOOKED = """    SELECT e.n, 'new', e.answer, e.linked_id, e.refusal, e.refusal_id, e.call_id, e.name FROM claimed
    JOIN e ON e.webhook_id = claimed.webhook_id AND e.place = claimed.place
"""
LOOKS_TOO_EARLY = """    SELECT x.n,
           CASE WHEN EXISTS (SELECT FROM claimed AS c WHERE c.webhook_id = x.webhook_id AND c.place = x.place) THEN 'new'
                ELSE coalesce((SELECT 'replay' FROM processed_webhooks AS w WHERE w.tenant_id = p_tenant AND w.key = decode(x.key, 'hex')),
                              'absent') END,
           x.answer, NULL::uuid, NULL, NULL::uuid, NULL, NULL
    FROM jsonb_to_recordset(p_effects) AS x(n integer, webhook_id uuid, place smallint, key text, answer text)
"""
ABSENT = 'if any(effect.store and each.outcome == "absent" for effect, each in zip(effects, claimed, strict=True)):'

MUTATIONS: tuple[Mutation, ...] = (
    mutation(
        "the claim lets a duplicate run",
        ACCEPT,
        CLAIM,
        CLAIM.replace("DO NOTHING", "DO UPDATE SET webhook_id = excluded.webhook_id, place = excluded.place"),
        f"{ONCE}::test_a_first_delivery_still_in_flight_is_waited_for",
    ),
    Mutation(
        "the look for the stored answer is part of the claim's statement",
        (
            Edit(ACCEPT, LOOKED, LOOKS_TOO_EARLY),
            Edit(CLAIMS, ABSENT, "if False:"),
        ),
        (f"{ONCE}::test_a_first_delivery_still_in_flight_is_waited_for",),
    ),
    mutation(
        "a key that ended between the claim and the look is not claimed again",
        CLAIMS,
        ABSENT,
        "if False:",
        "tests/retention/test_between.py",
    ),
    mutation(
        "two ids of one text do not meet at a lock",
        ACCEPT,
        "    PERFORM pg_advisory_xact_lock(l) FROM unnest(p_locks) AS l;\n",
        "",
        f"{SAME}::test_two_ids_of_one_text_meet_before_either_claims",
    ),
    mutation(
        "texts of one call do not wait for each other",
        CLAIMS,
        "    return sorted(numbers.union(*(effect.counted for effect in effects if effect.counted is not None)))\n",
        "    return sorted(numbers)\n",
        f"{LIMITS}::test_who_is_counted_waits_for_those_of_its_call_and_recipient",
    ),
    mutation(
        "texts of one batch do not see each other",
        CLAIMS,
        "    if all(times == 1 for times in found.values()):  # as usual\n",
        "    if True:\n",
        f"{LIMITS}::test_texts_of_one_delivery_see_each_other_in_their_order",
    ),
    mutation(
        "a text that is canceled makes room for another",
        ACCEPT,
        "m.status <> 'failed' OR m.twilio_sid IS NOT NULL AS counts",
        "m.status NOT IN ('failed', 'canceled') AS counts",
        f"{LIMITS}::test_what_left_or_was_canceled_still_counts",
    ),
    mutation(
        "what is known takes the lock all the same",
        ACCEPT,
        "ORDER BY w.key LIMIT 1) IS NULL\n  ) THEN",
        "ORDER BY w.key LIMIT 1) IS NULL OR true\n  ) THEN",
        f"{SAME}::test_a_repeated_delivery_waits_for_nobody",
    ),
    mutation(
        "the look for the same text may walk all texts of its recipient",
        ACCEPT,
        "SET enable_seqscan = off SET enable_sort = off AS $$  -- each look",
        "SET enable_seqscan = off AS $$  -- each look",
        "tests/retention/test_young_tables.py",
    ),
    mutation(
        "one text under two ids is claimed in one wave",
        CLAIMS,
        "while turn < len(made) and",
        "while False and",
        f"{SAME}::test_twice_in_one_delivery_is_one_text",
    ),
    mutation(
        "one text under two ids leaves in one batch",
        CLAIMS,
        "        if any(texts.get(number, key) != key for number, key in wanted):\n            break\n",
        "",
        "tests/webhooks/test_claims.py::test_a_batch_takes_twins_and_ends_before_the_same_text_under_another_id",
    ),
    mutation(
        "the window of the same text is longer",
        ACCEPT,
        "make_interval(secs => x.same_within)\n                   AND",
        "make_interval(secs => 1.1 * x.same_within)\n                   AND",
        f"{SAME}::test_after_ten_minutes_it_is_a_text_of_its_own",
    ),
    mutation(
        "the fingerprint of a tool call is ignored",
        ACCEPT,
        "                WHEN p.fingerprint <> decode(x.fingerprint, 'hex') THEN 'conflict'\n",
        "",
        f"{ONCE}::test_the_same_id_with_other_arguments_is_an_error_and_sends_nothing",
    ),
    mutation(
        "the fingerprint of a report is ignored",
        RECORDS,
        "WHEN v_fingerprint IS NOT DISTINCT FROM p_fingerprint THEN 'replay'",
        "WHEN true THEN 'replay'",
        f"{CALLS}::test_a_fuller_report_fills_the_gaps_and_the_bill",
    ),
    mutation(
        "the fingerprint of a run is ignored",
        RUNS,
        "  IF FOUND AND (p.fingerprint <> v_fingerprint OR",
        "  v_fingerprint := coalesce(p.fingerprint, v_fingerprint);\n  IF FOUND AND (p.fingerprint <> v_fingerprint OR",
        "tests/runs/test_runs.py::test_something_else_under_the_same_key_is_a_conflict",
    ),
    Mutation(
        "the tenant is no part of the unique key",
        (
            Edit("migrations/sql/0001/40_webhooks.sql", "PRIMARY KEY (tenant_id, key)\n", "PRIMARY KEY (tenant_id, key), UNIQUE (key)\n"),
            Edit(ACCEPT, CLAIM, CLAIM.replace("(tenant_id, key) ", "")),
        ),
        (f"{ONCE}::test_equal_ids_of_two_tenants_are_two_effects",),
    ),
    mutation(
        "the tenant is no part of the lock of a thing",
        "webhooks/keys.py",
        'digest("lock", kind, tenant.bytes, *parts)[:8]',
        'digest("lock", kind, *parts)[:8]',
        "tests/webhooks/test_keys.py::test_the_number_under_which_one_thing_meets_itself_is_the_tenants_own",
    ),
    mutation(
        "observe does not record and off does",
        CLAIMS,
        "mode == OBSERVE, *limits",
        "mode != OBSERVE, *limits",
        "tests/api/test_idempotency_switch.py::test_what_a_mode_does_with_a_duplicate",
    ),
    mutation(
        "observe enforces",
        CLAIMS,
        "        if mode == ENFORCE:\n            shared",
        "        if mode in (ENFORCE, OBSERVE):\n            shared",
        "tests/api/test_idempotency_switch.py::test_what_a_mode_does_with_a_duplicate",
    ),
    mutation(
        "a dead letter is not taken over by its next delivery",
        RECORDS,
        "      IF v_found = 'dead' THEN\n",
        "      IF false THEN\n",
        "tests/api/test_replay.py::test_a_report_that_we_failed_on_is_handled_when_it_comes_again",
    ),
)
