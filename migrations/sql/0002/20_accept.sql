-- Ingest as in 0001, and one thing more: the same text to the same person in the same call, asked for under two ids, is one text.
-- p_effects as app.accept_v1, in the order of their keys, so that two batches with the same keys cannot wait for each other in a ring,
-- and for each {caller, replay_of, duplicate_answer, same_within}: with duplicate_answer, a text
-- of this call with the same words, recipient and time that was accepted less than same_within seconds ago answers for this one.
-- p_locks: the numbers of such texts, in ascending order. Two deliveries of one text under two ids meet here before either
-- claims: the second one looks only when the first has committed. All locks are taken before any key, so nobody waits in a ring.
-- What is known already, as a repeated delivery is, waits for nobody and writes nothing.
CREATE FUNCTION app.accept_v2(p_tenant uuid, p_effects jsonb, p_locks bigint[])
RETURNS TABLE (n integer, outcome text, answer text, message_id uuid) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off AS $$  -- each look by the index that has its order: a plan of a small table lives on
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_new integer[] := '{}';
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF EXISTS (
    SELECT FROM jsonb_to_recordset(p_effects) AS x(key text, store boolean)
    WHERE x.store AND (
      SELECT w.place FROM processed_webhooks AS w
      WHERE w.tenant_id = p_tenant AND w.key BETWEEN decode(x.key, 'hex') AND decode(x.key, 'hex') ORDER BY w.key LIMIT 1) IS NULL
  ) THEN
    PERFORM pg_advisory_xact_lock(l) FROM unnest(p_locks) AS l;

    FOR n, outcome, answer, message_id IN
    WITH e AS MATERIALIZED (
      SELECT x.n, x.webhook_id, x.place, x.source, x.type, x.call_id, x.assistant_id, decode(x.key, 'hex') AS key, x.key AS key_text,
             decode(x.fingerprint, 'hex') AS fingerprint, x.name, x.tool_call_id, x.arguments, x.caller, x.replay_of, x.recipient, x.body, x.class,
             x.priority, x.encoding, x.segments, x.status, x.sender_id, x.registration_id, x.due_at, x.expected_at,
             CASE WHEN s.found THEN x.suppressed_answer WHEN d.id IS NOT NULL THEN x.duplicate_answer ELSE x.answer END AS answer,
             CASE WHEN s.found THEN 'failed' ELSE x.state END AS state,
             CASE WHEN s.found OR d.id IS NOT NULL THEN NULL ELSE x.meter END AS meter,
             CASE WHEN s.found OR d.id IS NOT NULL THEN NULL ELSE x.message_id END AS message_id,
             CASE WHEN s.found THEN NULL ELSE coalesce(d.id, x.message_id) END AS linked_id
      FROM jsonb_to_recordset(p_effects) AS x(
        n integer, webhook_id uuid, place smallint, source text, type text, call_id text, assistant_id text, key text, fingerprint text, store boolean,
        state text, name text, tool_call_id text, arguments text, caller text, replay_of uuid, answer text, suppressed_answer text,
        duplicate_answer text, same_within double precision, meter text, message_id uuid, recipient text, body text, class text, priority smallint,
        encoding text, segments smallint, status text, sender_id uuid, registration_id uuid, due_at timestamptz, expected_at timestamptz)
      LEFT JOIN LATERAL (
        SELECT true AS found FROM opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient LIMIT 1) AS s ON true
      LEFT JOIN LATERAL (
        SELECT m.id FROM messages AS m
        -- a range and an order here too (see below): only the index of calls has it, and a busy recipient's texts are not walked
        WHERE m.tenant_id = p_tenant AND m.call_id BETWEEN x.call_id AND x.call_id AND m.recipient = x.recipient AND m.body = x.body
          AND m.created_at > v_now - make_interval(secs => x.same_within)
          AND (m.due_at = coalesce(x.due_at, m.created_at) OR (x.due_at IS NULL AND m.attempt > 0))  -- Twilio may have put it off
          AND m.status NOT IN ('failed', 'undelivered', 'canceled')
        ORDER BY m.call_id, m.id LIMIT 1) AS d ON x.duplicate_answer IS NOT NULL
      WHERE x.store
    ), claimed AS (
      INSERT INTO processed_webhooks
        (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments, caller,
         replay_of, answer, message_id, received_at)
      SELECT p_tenant, e.key, e.fingerprint, e.webhook_id, e.place, e.source, e.type, e.state, e.call_id, e.assistant_id, e.tool_call_id, e.name,
             e.arguments, e.caller, e.replay_of, e.answer, e.linked_id, v_now
      FROM e
      ON CONFLICT (tenant_id, key) DO NOTHING
      RETURNING webhook_id, place
    ), mine AS (
      SELECT e.key_text, e.call_id, e.meter, e.message_id, e.recipient, e.body, e.class, e.priority, e.encoding, e.segments, e.status,
             e.sender_id, e.registration_id, coalesce(e.due_at, v_now) AS due_at, coalesce(e.expected_at, v_now) AS expected_at
      FROM claimed JOIN e ON e.webhook_id = claimed.webhook_id AND e.place = claimed.place
    ), texts AS (
      INSERT INTO messages
        (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, call_id, due_at, expected_at,
         created_at, updated_at)
      SELECT p_tenant, m.message_id, m.recipient, m.body, m.class, m.priority, m.encoding, m.segments, m.status, m.sender_id, m.registration_id,
             m.call_id, m.due_at, m.expected_at, v_now, v_now
      FROM mine AS m WHERE m.message_id IS NOT NULL
    ), arrived AS (
      INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
      SELECT p_tenant, m.registration_id, m.due_at, m.segments FROM mine AS m WHERE m.message_id IS NOT NULL
    ), metered AS (
      INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
      SELECT p_tenant, m.meter, 'effect:' || m.key_text, 1, v_now, v_now FROM mine AS m WHERE m.meter IS NOT NULL
      ON CONFLICT (tenant_id, meter, source_id) DO NOTHING
    )
    SELECT e.n, 'new', e.answer, e.linked_id FROM claimed
    JOIN e ON e.webhook_id = claimed.webhook_id AND e.place = claimed.place
    LOOP
      v_new := v_new || n;
      RETURN NEXT;
    END LOOP;
    IF cardinality(v_new) = jsonb_array_length(p_effects) THEN
      RETURN;
    END IF;
  END IF;

  RETURN QUERY
    SELECT x.n,
           CASE WHEN p.webhook_id IS NULL THEN 'absent'  -- not to be stored, or cleaned up between the statements: the caller knows which
                WHEN p.webhook_id = x.webhook_id AND p.place = x.place THEN 'new'
                WHEN p.fingerprint <> decode(x.fingerprint, 'hex') THEN 'conflict'
                WHEN p.state IN ('in_flight', 'dead') THEN 'unfinished'
                ELSE 'replay' END,
           CASE WHEN p.webhook_id IS NULL THEN x.answer WHEN p.fingerprint = decode(x.fingerprint, 'hex') THEN p.answer END,
           CASE WHEN p.fingerprint = decode(x.fingerprint, 'hex') THEN p.message_id END
    FROM jsonb_to_recordset(p_effects) AS x(n integer, webhook_id uuid, place smallint, key text, fingerprint text, answer text)
    LEFT JOIN LATERAL (
      SELECT w.webhook_id, w.place, w.fingerprint, w.answer, w.message_id, w.state FROM processed_webhooks AS w
      -- a range and an order, not an equality: while the table is young every index of a tenant looks as cheap, and a plan that walks
      -- all of its rows would live as long as the connection; only the primary key has this order
      WHERE w.tenant_id = p_tenant AND w.key BETWEEN decode(x.key, 'hex') AND decode(x.key, 'hex') ORDER BY w.key LIMIT 1) AS p ON true
    WHERE x.n <> ALL (v_new);
END $$;

-- The switch idempotency away from enforce: everything runs, whatever came before. A text is still refused to whoever opted out.
-- Effects without their keys: texts, arrivals, usage. Repeating one delivery's effects changes nothing.
CREATE FUNCTION app.do_effects_v1(p_tenant uuid, p_effects jsonb)
RETURNS TABLE (n integer, stored boolean, state text, answer text, message_id uuid) LANGUAGE plpgsql
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  RETURN QUERY
  WITH e AS MATERIALIZED (
    SELECT x.n, x.webhook_id, x.place, x.call_id, x.recipient, x.body, x.class, x.priority, x.encoding, x.segments, x.status, x.sender_id,
           x.registration_id, coalesce(x.due_at, v_now) AS due_at, coalesce(x.expected_at, v_now) AS expected_at, x.store,
           CASE WHEN s.found THEN x.suppressed_answer ELSE x.answer END AS answer,
           CASE WHEN s.found THEN 'failed' ELSE x.state END AS state,
           CASE WHEN s.found THEN NULL ELSE x.meter END AS meter,
           CASE WHEN s.found THEN NULL ELSE x.message_id END AS message_id
    FROM jsonb_to_recordset(p_effects) AS x(
      n integer, webhook_id uuid, place smallint, call_id text, store boolean, state text, answer text, suppressed_answer text, meter text,
      message_id uuid, recipient text, body text, class text, priority smallint, encoding text, segments smallint, status text, sender_id uuid,
      registration_id uuid, due_at timestamptz, expected_at timestamptz)
    LEFT JOIN LATERAL (
      SELECT true AS found FROM opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient LIMIT 1) AS s ON true
  ), texts AS (
    INSERT INTO messages
      (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, call_id, due_at, expected_at,
       created_at, updated_at)
    SELECT p_tenant, e.message_id, e.recipient, e.body, e.class, e.priority, e.encoding, e.segments, e.status, e.sender_id, e.registration_id,
           e.call_id, e.due_at, e.expected_at, v_now, v_now
    FROM e WHERE e.store AND e.message_id IS NOT NULL
    ON CONFLICT (tenant_id, id) DO NOTHING  -- this delivery was stored, and its answer lost
    RETURNING registration_id, due_at, segments
  ), arrived AS (
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
    SELECT p_tenant, t.registration_id, t.due_at, t.segments FROM texts AS t
  ), metered AS (
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
    SELECT p_tenant, e.meter, 'unchecked:' || e.webhook_id || ':' || e.place, 1, v_now, v_now FROM e WHERE e.store AND e.meter IS NOT NULL
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING
  )
  SELECT e.n, e.store, e.state, e.answer, e.message_id FROM e;
END $$;

-- With p_record (observe) a key is recorded where it is new, and the outcome tells what enforcing would have found: new or repeated.
-- Without (off) the store of keys is not touched at all, so that this works when the store is the trouble.
CREATE FUNCTION app.accept_unchecked_v1(p_tenant uuid, p_effects jsonb, p_record boolean)
RETURNS TABLE (n integer, outcome text, answer text, message_id uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF NOT p_record THEN
    RETURN QUERY SELECT d.n, CASE WHEN d.stored THEN 'unchecked' ELSE 'absent' END, d.answer, d.message_id FROM app.do_effects_v1(p_tenant, p_effects) AS d;
    RETURN;
  END IF;
  RETURN QUERY
  WITH d AS MATERIALIZED (
    SELECT e.n, e.stored, e.state, e.answer, e.message_id FROM app.do_effects_v1(p_tenant, p_effects) AS e
  ), claimed AS (
    INSERT INTO processed_webhooks
      (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments, caller,
       replay_of, answer, message_id, received_at)
    SELECT p_tenant, decode(x.key, 'hex'), decode(x.fingerprint, 'hex'), x.webhook_id, x.place, x.source, x.type, d.state, x.call_id,
           x.assistant_id, x.tool_call_id, x.name, x.arguments, x.caller, x.replay_of, d.answer, d.message_id, app.now()
    FROM jsonb_to_recordset(p_effects) AS x(
      n integer, webhook_id uuid, place smallint, source text, type text, call_id text, assistant_id text, key text, fingerprint text,
      name text, tool_call_id text, arguments text, caller text, replay_of uuid)
    JOIN d ON d.n = x.n AND d.stored ORDER BY x.key
    ON CONFLICT (tenant_id, key) DO NOTHING
    RETURNING webhook_id, place
  )
  SELECT d.n,
         CASE WHEN NOT d.stored THEN 'absent'
              WHEN EXISTS (SELECT 1 FROM claimed AS c WHERE c.webhook_id = x.webhook_id AND c.place = x.place) THEN 'new'
              ELSE 'repeated' END,
         d.answer, d.message_id
  FROM d JOIN jsonb_to_recordset(p_effects) AS x(n integer, webhook_id uuid, place smallint) ON x.n = d.n;
END $$;

-- A report or a status of a call, as in 0001; p_facts is kept, so that it can be handled again. With p_again (a replay by hand) it is
-- handled although it was before: gaps are filled, the ledger's own uniqueness keeps the bill. p_mode as the switch idempotency.
CREATE FUNCTION app.record_call_v2(
  p_tenant uuid, p_webhook uuid, p_type text, p_call text, p_assistant text, p_key bytea, p_fingerprint bytea, p_state text,
  p_state_rank smallint, p_started_at timestamptz, p_ended_at timestamptz, p_seconds numeric, p_estimated_seconds numeric,
  p_cost_usd numeric, p_ended_reason text, p_final boolean, p_facts text, p_mode text, p_again boolean
) RETURNS TABLE (outcome text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_fingerprint bytea;
  v_found text;
  v_outcome text := CASE p_mode WHEN 'off' THEN 'unchecked' ELSE 'new' END;
  v_seconds numeric;
  v_cost numeric;
  v_at timestamptz;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF p_mode <> 'off' THEN
    INSERT INTO processed_webhooks
      (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, arguments, answer, received_at)
    VALUES (p_tenant, p_key, p_fingerprint, p_webhook, 0, 'vapi', p_type, 'done', p_call, p_assistant, p_facts, '{}', v_now)
    ON CONFLICT (tenant_id, key) DO NOTHING;
    IF NOT FOUND THEN
      SELECT p.fingerprint, p.state INTO v_fingerprint, v_found FROM processed_webhooks AS p
      WHERE p.tenant_id = p_tenant AND p.key BETWEEN p_key AND p_key ORDER BY p.key LIMIT 1;  -- by the primary key, see app.accept_v2
      v_outcome := CASE WHEN v_found = 'dead' THEN 'new'
                        WHEN p_mode = 'observe' THEN 'repeated'
                        WHEN v_fingerprint IS NOT DISTINCT FROM p_fingerprint THEN 'replay'
                        ELSE 'differs' END;
      IF v_found = 'dead' THEN
        UPDATE processed_webhooks SET state = 'done', fingerprint = p_fingerprint, arguments = p_facts, reason = NULL
        WHERE tenant_id = p_tenant AND key = p_key AND state = 'dead';
      ELSIF v_outcome = 'replay' AND NOT p_again THEN
        RETURN QUERY SELECT v_outcome;
        RETURN;
      END IF;
    END IF;
  END IF;
  INSERT INTO calls AS c (tenant_id, call_id, assistant_id, state, state_rank, started_at, ended_at, seconds, estimated_seconds, cost_usd,
                          ended_reason, reported_at, reported_by, created_at, updated_at)
  VALUES (p_tenant, p_call, p_assistant, p_state, p_state_rank, p_started_at, p_ended_at, p_seconds, p_estimated_seconds, p_cost_usd,
          p_ended_reason, CASE WHEN p_final THEN v_now END, CASE WHEN p_final THEN 'report' END, v_now, v_now)
  ON CONFLICT (tenant_id, call_id) DO UPDATE SET
    assistant_id = coalesce(c.assistant_id, excluded.assistant_id),
    state = CASE WHEN excluded.state_rank > c.state_rank THEN excluded.state ELSE c.state END,
    state_rank = greatest(c.state_rank, excluded.state_rank),
    started_at = coalesce(c.started_at, excluded.started_at),
    ended_at = coalesce(c.ended_at, excluded.ended_at),
    seconds = coalesce(c.seconds, excluded.seconds),
    estimated_seconds = coalesce(c.estimated_seconds, excluded.estimated_seconds),
    cost_usd = coalesce(c.cost_usd, excluded.cost_usd),
    ended_reason = coalesce(c.ended_reason, excluded.ended_reason),
    reported_at = coalesce(c.reported_at, excluded.reported_at),
    reported_by = CASE WHEN excluded.reported_by IS NULL THEN c.reported_by ELSE coalesce(nullif(c.reported_by, 'nobody'), excluded.reported_by) END,
    look_at = CASE WHEN excluded.state_rank > c.state_rank THEN NULL ELSE c.look_at END,  -- there is news: the pause after the last look is over
    updated_at = v_now
  RETURNING c.seconds, c.cost_usd, coalesce(c.ended_at, v_now) INTO v_seconds, v_cost, v_at;
  IF p_final THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
    SELECT p_tenant, u.meter, 'call:' || p_call, u.quantity, v_at, v_now
    FROM (VALUES ('calls', 1::numeric), ('call_seconds', v_seconds), ('vapi_cost_usd', v_cost)) AS u(meter, quantity)
    WHERE u.quantity IS NOT NULL
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  END IF;
  RETURN QUERY SELECT v_outcome;
END $$;

-- A webhook that was taken and could not be handled: its key is kept as dead, so that a later delivery or a hand may run it again.
CREATE FUNCTION app.bury_v1(
  p_tenant uuid, p_webhook uuid, p_place smallint, p_type text, p_call text, p_assistant text, p_key bytea, p_fingerprint bytea, p_name text,
  p_tool_call text, p_arguments text, p_caller text, p_reason text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  INSERT INTO processed_webhooks AS w
    (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, name, tool_call_id, arguments, caller, answer,
     reason, received_at)
  VALUES (p_tenant, p_key, p_fingerprint, p_webhook, p_place, 'vapi', p_type, 'dead', p_call, p_assistant, p_name, p_tool_call, p_arguments,
          p_caller, '{}', p_reason, app.now())
  ON CONFLICT (tenant_id, key) DO NOTHING;
  RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION app.accept_v2, app.do_effects_v1, app.accept_unchecked_v1, app.record_call_v2, app.bury_v1 TO {app};
