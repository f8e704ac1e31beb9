-- What the model may be talked into: whom its texts go to, how many, with which links. And accepting a text once more.

-- Destinations, limits and link hosts of the texts of a tenant's calls: see tenants/text_policy.py.
CREATE TABLE text_policies (
  tenant_id uuid NOT NULL,
  name text NOT NULL,                           -- 'default': a tenant has one policy today
  setting jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);

-- Texts that a model asked for and the policy refused. Neither number nor text: what is not sent is not kept.
CREATE TABLE text_refusals (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  at timestamptz NOT NULL,
  reason text NOT NULL CHECK (reason IN ('destination', 'premium', 'link', 'call_limit', 'recipient_limit')),
  call_id text,
  tool text NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX text_refusals_call_idx ON text_refusals (tenant_id, call_id, id) WHERE call_id IS NOT NULL;

SELECT app.wall_in(t, '{role}') FROM unnest(ARRAY['text_policies', 'text_refusals']::regclass[]) AS t;
GRANT SELECT, INSERT, UPDATE, DELETE ON text_policies TO {app};
GRANT SELECT, INSERT, DELETE ON text_refusals TO {app};

CREATE FUNCTION app.snapshot_text_policy_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('text_policy', (SELECT t.setting FROM text_policies AS t WHERE t.tenant_id = p_tenant AND t.name = 'default'))
$$;

-- Refusals of these tenants from before 30 days, p_most of each: a tenant that has as many has perhaps more.
CREATE FUNCTION app.forget_text_refusals_v1(p_tenants uuid[], p_most integer, p_dry_run boolean)
RETURNS TABLE (tenant uuid, forgotten integer) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_before uuid := app.first_id_at(app.now() - interval '30 days');
  v_ids uuid[];
  t uuid;
BEGIN
  FOREACH t IN ARRAY p_tenants LOOP
    PERFORM set_config('app.tenant_id', t::text, true);
    v_ids := ARRAY(SELECT r.id FROM text_refusals AS r WHERE r.tenant_id = t AND r.id < v_before ORDER BY r.tenant_id, r.id LIMIT p_most);
    CONTINUE WHEN cardinality(v_ids) = 0;
    IF NOT p_dry_run THEN
      DELETE FROM text_refusals AS r WHERE r.tenant_id = t AND r.id = ANY (v_ids);
    END IF;
    tenant := t;
    forgotten := cardinality(v_ids);
    RETURN NEXT;
  END LOOP;
END $$;

-- Which of the crowded texts of one batch (those that share a call or a recipient with another) are over a limit, as {n: reason}: in the
-- order of their places, each seeing what is stored and those before it that pass. With p_claims, what a key, an opt-out or the same text
-- answers is no text; an attempt whose answer was lost does not count itself. Runs in the tenant's scope, under the locks of these calls and recipients.
CREATE FUNCTION app.over_limit_v1(
  p_tenant uuid, p_effects jsonb, p_claims boolean, p_call_limit integer, p_recipient_limit integer, p_day_from timestamptz, p_since_id uuid
) RETURNS jsonb LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
  v_now timestamptz := app.now();
  v_over jsonb := '{}';
  v_keys text[] := '{}';
  v_calls text[] := '{}';
  v_recipients text[] := '{}';
  v_ids uuid[] := ARRAY(SELECT r.message_id FROM jsonb_to_recordset(p_effects) AS r(message_id uuid) WHERE r.message_id IS NOT NULL);
  v_room integer;
  x record;
BEGIN
  FOR x IN
    SELECT r.n, r.key, r.call_id, r.recipient, r.body, r.sender_id, r.due_at, r.duplicate_answer, r.same_within
    FROM jsonb_to_recordset(p_effects) AS r(
      n integer, key text, store boolean, crowded boolean, call_id text, recipient text, body text, sender_id uuid, due_at timestamptz,
      duplicate_answer text, same_within double precision)
    WHERE r.store AND r.crowded ORDER BY r.n
  LOOP
    IF p_claims THEN  -- a statement of its own: the store of keys is not touched without it, not even by a lock
      CONTINUE WHEN x.key = ANY (v_keys) OR (
        SELECT w.place FROM processed_webhooks AS w
        WHERE w.tenant_id = p_tenant AND w.key BETWEEN decode(x.key, 'hex') AND decode(x.key, 'hex') ORDER BY w.key LIMIT 1) IS NOT NULL;
    END IF;
    v_keys := v_keys || x.key;
    CONTINUE WHEN EXISTS (SELECT FROM opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient)
      OR EXISTS (SELECT FROM sender_opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient AND o.sender_id = x.sender_id);
    CONTINUE WHEN p_claims AND x.duplicate_answer IS NOT NULL AND (
      SELECT m.id FROM messages AS m
      WHERE m.tenant_id = p_tenant AND m.call_id BETWEEN x.call_id AND x.call_id AND m.recipient = x.recipient AND m.body = x.body
        AND m.created_at > v_now - make_interval(secs => x.same_within)
        AND (m.due_at = coalesce(x.due_at, m.created_at) OR (x.due_at IS NULL AND m.attempt > 0))
        AND m.status NOT IN ('failed', 'undelivered', 'canceled')
      ORDER BY m.call_id, m.id LIMIT 1) IS NOT NULL;
    v_room := p_call_limit - 1 - coalesce(cardinality(array_positions(v_calls, x.call_id)), 0);
    IF v_room < 0 OR (
      SELECT 1 FROM messages AS m
      WHERE m.tenant_id = p_tenant AND m.call_id BETWEEN x.call_id AND x.call_id AND m.id <> ALL (v_ids)
        AND (m.status <> 'failed' OR m.twilio_sid IS NOT NULL)
      ORDER BY m.call_id, m.id OFFSET v_room LIMIT 1) IS NOT NULL
    THEN
      v_over := v_over || jsonb_build_object(x.n, 'call_limit');
      CONTINUE;
    END IF;
    v_room := p_recipient_limit - 1 - coalesce(cardinality(array_positions(v_recipients, x.recipient)), 0);
    IF v_room < 0 OR (
      SELECT 1 FROM messages AS m
      WHERE m.tenant_id = p_tenant AND m.recipient BETWEEN x.recipient AND x.recipient
        AND m.id >= p_since_id AND m.created_at >= p_day_from
        AND m.call_id IS NOT NULL AND m.id <> ALL (v_ids) AND (m.status <> 'failed' OR m.twilio_sid IS NOT NULL)
      ORDER BY m.recipient, m.id OFFSET v_room LIMIT 1) IS NOT NULL
    THEN
      v_over := v_over || jsonb_build_object(x.n, 'recipient_limit');
      CONTINUE;
    END IF;
    v_calls := v_calls || x.call_id;
    v_recipients := v_recipients || x.recipient;
  END LOOP;
  RETURN v_over;
END $$;

-- Ingest as app.accept_v2, and for each text of a call {call_full_answer, recipient_full_answer}: over a limit it is refused with that answer.
-- A text counts in its call, and for its recipient since p_day_from, once it is stored: canceled ones too, or cancelling would make room for
-- more; not those that failed before Twilio had them. What a call has asked for is few: each was a webhook.
-- p_locks has a number for each such call and recipient too: what would be counted has been committed before it is. p_crowded: some of
-- them share a call or a recipient and are marked `crowded`; they are counted one after another.
-- `refusal`, with the id of its row, is why the policy refused a text before; `lifetime` the seconds after its due time that it is worth sending.
-- Looks have a range and an order for the index that is meant, and a recipient's ends at the limit and at p_since_id, the first id that may be
-- of this day: other days are not walked.
CREATE FUNCTION app.accept_v3(
  p_tenant uuid, p_effects jsonb, p_locks bigint[], p_crowded boolean, p_call_limit integer, p_recipient_limit integer, p_day_from timestamptz,
  p_since_id uuid
)
RETURNS TABLE (n integer, outcome text, answer text, message_id uuid, refusal text) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off AS $$  -- each look by the index that has its order: a plan of a small table lives on
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_new integer[] := '{}';
  v_over jsonb := '{}';
  v_refusal uuid;
  v_call text;
  v_tool text;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF EXISTS (
    SELECT FROM jsonb_to_recordset(p_effects) AS x(key text, store boolean)
    WHERE x.store AND (
      SELECT w.place FROM processed_webhooks AS w
      WHERE w.tenant_id = p_tenant AND w.key BETWEEN decode(x.key, 'hex') AND decode(x.key, 'hex') ORDER BY w.key LIMIT 1) IS NULL
  ) THEN
    PERFORM pg_advisory_xact_lock(l) FROM unnest(p_locks) AS l;
    IF p_crowded THEN
      v_over := app.over_limit_v1(p_tenant, p_effects, true, p_call_limit, p_recipient_limit, p_day_from, p_since_id);
    END IF;

    FOR n, outcome, answer, message_id, refusal, v_refusal, v_call, v_tool IN
    WITH e AS MATERIALIZED (
      SELECT x.n, x.webhook_id, x.place, x.source, x.type, x.call_id, x.assistant_id, decode(x.key, 'hex') AS key, x.key AS key_text,
             decode(x.fingerprint, 'hex') AS fingerprint, x.name, x.tool_call_id, x.arguments, x.caller, x.replay_of, x.recipient, x.body, x.class,
             x.priority, x.encoding, x.segments, x.status, x.sender_id, x.registration_id, x.due_at, x.expected_at,
             coalesce(x.due_at, v_now) + make_interval(secs => x.lifetime) AS expires_at,
             CASE WHEN s.found THEN x.suppressed_answer WHEN d.id IS NOT NULL THEN x.duplicate_answer
                  WHEN f.reason = 'call_limit' THEN x.call_full_answer WHEN f.reason IS NOT NULL THEN x.recipient_full_answer ELSE x.answer END AS answer,
             CASE WHEN s.found OR f.reason IS NOT NULL THEN 'failed' ELSE x.state END AS state,
             CASE WHEN s.found OR d.id IS NOT NULL OR f.reason IS NOT NULL THEN NULL ELSE x.meter END AS meter,
             CASE WHEN s.found OR d.id IS NOT NULL OR f.reason IS NOT NULL THEN NULL ELSE x.message_id END AS message_id,
             CASE WHEN s.found OR f.reason IS NOT NULL THEN NULL ELSE coalesce(d.id, x.message_id) END AS linked_id,
             coalesce(x.refusal, f.reason) AS refusal, coalesce(x.refusal_id, x.message_id) AS refusal_id
      FROM jsonb_to_recordset(p_effects) AS x(
        n integer, webhook_id uuid, place smallint, source text, type text, call_id text, assistant_id text, key text, fingerprint text, store boolean,
        state text, name text, tool_call_id text, arguments text, caller text, replay_of uuid, answer text, suppressed_answer text,
        duplicate_answer text, same_within double precision, meter text, message_id uuid, recipient text, body text, class text, priority smallint,
        encoding text, segments smallint, status text, sender_id uuid, registration_id uuid, due_at timestamptz, expected_at timestamptz,
        lifetime double precision, refusal text, refusal_id uuid, crowded boolean, call_full_answer text, recipient_full_answer text)
      LEFT JOIN LATERAL (
        SELECT true AS found
        WHERE (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient LIMIT 1) IS NOT NULL
           OR (SELECT 1 FROM sender_opt_outs AS o
               WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient AND o.sender_id = x.sender_id LIMIT 1) IS NOT NULL
        OFFSET 0) AS s ON true
      LEFT JOIN LATERAL (
        SELECT (array_agg(q.id) FILTER (WHERE q.same))[1] AS id, count(*) FILTER (WHERE q.counts) AS texts FROM (
          SELECT m.id,
                 x.duplicate_answer IS NOT NULL AND m.recipient = x.recipient AND m.body = x.body
                   AND m.created_at > v_now - make_interval(secs => x.same_within)
                   AND (m.due_at = coalesce(x.due_at, m.created_at) OR (x.due_at IS NULL AND m.attempt > 0))  -- Twilio may have put it off
                   AND m.status NOT IN ('failed', 'undelivered', 'canceled') AS same,
                 m.status <> 'failed' OR m.twilio_sid IS NOT NULL AS counts
          FROM messages AS m
          -- a range and an order here too (see below): only the index of calls has it, and a busy recipient's texts are not walked
          WHERE x.message_id IS NOT NULL AND m.tenant_id = p_tenant AND m.call_id BETWEEN x.call_id AND x.call_id
          ORDER BY m.call_id, m.id) AS q) AS d ON true
      LEFT JOIN LATERAL (
        SELECT CASE
          WHEN x.call_full_answer IS NULL OR s.found OR d.id IS NOT NULL THEN NULL
          WHEN x.crowded THEN v_over->>x.n::text
          WHEN d.texts >= p_call_limit THEN 'call_limit'
          WHEN (
            SELECT 1 FROM messages AS m
            WHERE m.tenant_id = p_tenant AND m.recipient BETWEEN x.recipient AND x.recipient AND m.id >= p_since_id
              AND m.created_at >= p_day_from AND m.call_id IS NOT NULL AND (m.status <> 'failed' OR m.twilio_sid IS NOT NULL)
            ORDER BY m.recipient, m.id OFFSET p_recipient_limit - 1 LIMIT 1) IS NOT NULL THEN 'recipient_limit' END AS reason
        OFFSET 0) AS f ON true  -- without the offset each of its uses would look again
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
             e.sender_id, e.registration_id, e.expires_at, coalesce(e.due_at, v_now) AS due_at, coalesce(e.expected_at, v_now) AS expected_at
      FROM claimed JOIN e ON e.webhook_id = claimed.webhook_id AND e.place = claimed.place
    ), texts AS (
      INSERT INTO messages
        (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, call_id, due_at, expected_at,
         expires_at, created_at, updated_at)
      SELECT p_tenant, m.message_id, m.recipient, m.body, m.class, m.priority, m.encoding, m.segments, m.status, m.sender_id, m.registration_id,
             m.call_id, m.due_at, m.expected_at, m.expires_at, v_now, v_now
      FROM mine AS m WHERE m.message_id IS NOT NULL
    ), arrived AS (
      INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
      SELECT p_tenant, m.registration_id, m.due_at, m.segments FROM mine AS m WHERE m.message_id IS NOT NULL
    ), metered AS (
      INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
      SELECT p_tenant, m.meter, 'effect:' || m.key_text, 1, v_now, v_now FROM mine AS m WHERE m.meter IS NOT NULL
      ON CONFLICT (tenant_id, meter, source_id) DO NOTHING
    )
    SELECT e.n, 'new', e.answer, e.linked_id, e.refusal, e.refusal_id, e.call_id, e.name FROM claimed
    JOIN e ON e.webhook_id = claimed.webhook_id AND e.place = claimed.place
    LOOP
      v_new := v_new || n;
      IF refusal IS NOT NULL THEN
        INSERT INTO text_refusals (tenant_id, id, at, reason, call_id, tool) VALUES (p_tenant, v_refusal, v_now, refusal, v_call, v_tool);
      END IF;
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
           CASE WHEN p.fingerprint = decode(x.fingerprint, 'hex') THEN p.message_id END,
           NULL::text
    FROM jsonb_to_recordset(p_effects) AS x(n integer, webhook_id uuid, place smallint, key text, fingerprint text, answer text)
    LEFT JOIN LATERAL (
      SELECT w.webhook_id, w.place, w.fingerprint, w.answer, w.message_id, w.state FROM processed_webhooks AS w
      -- a range and an order, not an equality: while the table is young every index of a tenant looks as cheap, and a plan that walks
      -- all of its rows would live as long as the connection; only the primary key has this order
      WHERE w.tenant_id = p_tenant AND w.key BETWEEN decode(x.key, 'hex') AND decode(x.key, 'hex') ORDER BY w.key LIMIT 1) AS p ON true
    WHERE x.n <> ALL (v_new);
END $$;

-- The switch idempotency away from enforce, as app.do_effects_v1: everything runs, whatever came before, and the limits hold all the same,
-- under the same locks. Without keys every delivery is a text of its own and counts as one, so that a repeated one may hear that the
-- limit is reached; only the very same attempt, whose answer was lost, does not count itself.
CREATE FUNCTION app.do_effects_v2(
  p_tenant uuid, p_effects jsonb, p_locks bigint[], p_call_limit integer, p_recipient_limit integer, p_day_from timestamptz, p_since_id uuid
)
RETURNS TABLE (n integer, stored boolean, state text, answer text, message_id uuid, refusal text) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_over jsonb;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  PERFORM pg_advisory_xact_lock(l) FROM unnest(p_locks) AS l;
  SELECT app.over_limit_v1(
    p_tenant, jsonb_agg(x.each || '{"crowded": true}'), false, p_call_limit, p_recipient_limit, p_day_from, p_since_id) INTO v_over
  FROM jsonb_array_elements(p_effects) AS x(each) WHERE x.each ? 'call_full_answer';
  RETURN QUERY
  WITH e AS MATERIALIZED (
    SELECT x.n, x.webhook_id, x.place, x.call_id, x.name, x.recipient, x.body, x.class, x.priority, x.encoding, x.segments, x.status, x.sender_id,
           x.registration_id, coalesce(x.due_at, v_now) AS due_at, coalesce(x.expected_at, v_now) AS expected_at, x.store,
           coalesce(x.due_at, v_now) + make_interval(secs => x.lifetime) AS expires_at,
           CASE WHEN s.found THEN x.suppressed_answer WHEN f.reason = 'call_limit' THEN x.call_full_answer
                WHEN f.reason IS NOT NULL THEN x.recipient_full_answer ELSE x.answer END AS answer,
           CASE WHEN s.found OR f.reason IS NOT NULL THEN 'failed' ELSE x.state END AS state,
           CASE WHEN s.found OR f.reason IS NOT NULL THEN NULL ELSE x.meter END AS meter,
           CASE WHEN s.found OR f.reason IS NOT NULL THEN NULL ELSE x.message_id END AS message_id,
           coalesce(x.refusal, f.reason) AS refusal, coalesce(x.refusal_id, x.message_id) AS refusal_id
    FROM jsonb_to_recordset(p_effects) AS x(
      n integer, webhook_id uuid, place smallint, call_id text, name text, store boolean, state text, answer text, suppressed_answer text, meter text,
      message_id uuid, recipient text, body text, class text, priority smallint, encoding text, segments smallint, status text, sender_id uuid,
      registration_id uuid, due_at timestamptz, expected_at timestamptz, lifetime double precision, refusal text, refusal_id uuid,
      call_full_answer text, recipient_full_answer text)
    LEFT JOIN LATERAL (
      SELECT true AS found
      WHERE (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient LIMIT 1) IS NOT NULL
         OR (SELECT 1 FROM sender_opt_outs AS o
             WHERE o.tenant_id = p_tenant AND o.recipient = x.recipient AND o.sender_id = x.sender_id LIMIT 1) IS NOT NULL
      OFFSET 0) AS s ON true
    LEFT JOIN LATERAL (SELECT v_over->>x.n::text AS reason OFFSET 0) AS f ON true
  ), texts AS (
    INSERT INTO messages
      (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, call_id, due_at, expected_at,
       expires_at, created_at, updated_at)
    SELECT p_tenant, e.message_id, e.recipient, e.body, e.class, e.priority, e.encoding, e.segments, e.status, e.sender_id, e.registration_id,
           e.call_id, e.due_at, e.expected_at, e.expires_at, v_now, v_now
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
  ), refused AS (
    INSERT INTO text_refusals (tenant_id, id, at, reason, call_id, tool)
    SELECT p_tenant, e.refusal_id, v_now, e.refusal, e.call_id, e.name FROM e WHERE e.store AND e.refusal IS NOT NULL
    ON CONFLICT (tenant_id, id) DO NOTHING
  )
  SELECT e.n, e.store, e.state, e.answer, e.message_id, e.refusal FROM e;
END $$;

-- As app.accept_unchecked_v1. The locks are taken before the keys here too.
CREATE FUNCTION app.accept_unchecked_v2(
  p_tenant uuid, p_effects jsonb, p_locks bigint[], p_record boolean, p_call_limit integer, p_recipient_limit integer, p_day_from timestamptz,
  p_since_id uuid
)
RETURNS TABLE (n integer, outcome text, answer text, message_id uuid, refusal text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF NOT p_record THEN
    RETURN QUERY
      SELECT d.n, CASE WHEN d.stored THEN 'unchecked' ELSE 'absent' END, d.answer, d.message_id, d.refusal
      FROM app.do_effects_v2(p_tenant, p_effects, p_locks, p_call_limit, p_recipient_limit, p_day_from, p_since_id) AS d;
    RETURN;
  END IF;
  RETURN QUERY
  WITH d AS MATERIALIZED (
    SELECT e.n, e.stored, e.state, e.answer, e.message_id, e.refusal
    FROM app.do_effects_v2(p_tenant, p_effects, p_locks, p_call_limit, p_recipient_limit, p_day_from, p_since_id) AS e
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
         d.answer, d.message_id, d.refusal
  FROM d JOIN jsonb_to_recordset(p_effects) AS x(n integer, webhook_id uuid, place smallint) ON x.n = d.n;
END $$;

GRANT EXECUTE ON FUNCTION app.snapshot_text_policy_v1, app.forget_text_refusals_v1, app.over_limit_v1, app.accept_v3, app.do_effects_v2,
  app.accept_unchecked_v2 TO {app};
