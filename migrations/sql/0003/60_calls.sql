-- One record per call, a function of the set of messages that told of it: neither their order nor their repetition shows in it.

ALTER TABLE calls
  ADD COLUMN told jsonb NOT NULL DEFAULT '{}',  -- by field: the standing of the message that told it
  ADD COLUMN phone_number_id text,              -- Vapi's id of the line that was called or called from
  ADD COLUMN call_type text,                    -- Vapi's word: inboundPhoneCall, outboundPhoneCall, webCall, …
  ADD COLUMN customer_masked text,              -- the last four digits of the other party
  ADD COLUMN customer_sealed text,              -- the whole number, where the tenant keeps it
  ADD COLUMN forgotten_at timestamptz,          -- since then customer, transcript and summary are not kept, whoever tells them again
  ADD COLUMN corrections smallint NOT NULL DEFAULT 0; -- lines of the bill that corrected the first one
CREATE INDEX calls_state_idx ON calls (tenant_id, state, created_at, call_id);
CREATE INDEX calls_assistant_idx ON calls (tenant_id, assistant_id, created_at, call_id);
CREATE INDEX calls_forgotten_idx ON calls (tenant_id, call_id) WHERE forgotten_at IS NOT NULL;

-- What was said, where the tenant keeps it; by how long, so that it leaves alone and the record of the call stays.
CREATE TABLE call_contents (
  tenant_id uuid NOT NULL,
  call_id text NOT NULL,
  transcript_sealed text,                       -- zlib before it was sealed
  summary_sealed text,
  kept_until timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, call_id)
);
CREATE INDEX call_contents_until_idx ON call_contents (tenant_id, kept_until);
ALTER TABLE call_contents ALTER transcript_sealed SET STORAGE EXTERNAL;
SELECT app.wall_in('call_contents'::regclass, '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON call_contents TO {app};

ALTER TABLE control.tenants
  ADD COLUMN privacy jsonb NOT NULL DEFAULT '{"customer": "masked", "transcripts": false, "summaries": false}',
  ADD COLUMN forget_from timestamptz;           -- from then on clean-up forgets what was kept and is to be kept no more

CREATE FUNCTION app.snapshot_privacy_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS
$$SELECT jsonb_build_object('privacy', t.privacy) FROM control.tenants AS t WHERE t.id = p_tenant$$;

-- Which fields of a message win against what is known: those whose message stands higher. A standing is text in C order: a digit for who
-- tells (1 tool call, 2 status, 3 Vapi when asked, 4 report), the message's own time in milliseconds (12 hex digits), and a mark of what
-- it says (16 hex digits), so that no two different messages stand alike. States climb first: a call never goes back.
-- What the release before wrote stands below every message of the kind that can have told it.
CREATE FUNCTION app.call_fields_won_v1(c calls, p_standing text, p_says jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
  WITH k AS MATERIALIZED (SELECT to_jsonb(c) AS known)
  SELECT coalesce(jsonb_object_agg(f.key, p_standing), '{}') FROM k, jsonb_object_keys(p_says - 'state_rank') AS f(key)
  WHERE CASE
    WHEN f.key IN ('customer', 'transcript', 'summary') THEN c.forgotten_at IS NULL AND p_standing COLLATE "C" > coalesce(c.told->>f.key, '')
    WHEN f.key <> 'state' THEN k.known->>f.key IS NULL OR p_standing COLLATE "C" > coalesce(
      c.told->>f.key, CASE c.reported_by WHEN 'report' THEN '4' WHEN 'vapi' THEN '3' ELSE '2' END)
    WHEN (p_says->>'state_rank')::smallint <> c.state_rank THEN (p_says->>'state_rank')::smallint > c.state_rank
    ELSE p_standing COLLATE "C" > coalesce(c.told->>'state', '') END
$$;

-- Join what one message tells to the record of its call; p_by is 'report' or 'vapi' where it told how the call ended, and then it is
-- billed: once, and where a message of higher standing tells another figure, the difference is one more line, so that bill and record
-- agree in every order. False: the record knew all of it already, and nothing was written. The caller has entered the tenant's scope.
CREATE FUNCTION app.tell_call_v1(p_tenant uuid, p_call text, p_standing text, p_says jsonb, p_by text, p_keep_days integer)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_won jsonb;
  v_by text;
  c calls;
  v_old calls;
BEGIN
  c := (SELECT q FROM calls AS q WHERE q.tenant_id = p_tenant AND q.call_id = p_call);
  IF c.call_id IS NOT NULL AND app.call_fields_won_v1(c, p_standing, p_says) = '{}' AND (p_by IS NULL OR c.reported_by IN (p_by, 'report')) THEN
    RETURN false;
  END IF;
  IF c.call_id IS NULL THEN
    INSERT INTO calls (tenant_id, call_id, state, state_rank, created_at, updated_at) VALUES (p_tenant, p_call, 'unknown', 5, v_now, v_now)
    ON CONFLICT (tenant_id, call_id) DO NOTHING;
  END IF;
  v_old := (SELECT q FROM calls AS q WHERE q.tenant_id = p_tenant AND q.call_id = p_call FOR UPDATE);
  v_won := app.call_fields_won_v1(v_old, p_standing, p_says);
  v_by := CASE WHEN p_by IS NULL OR v_old.reported_by = 'report' THEN v_old.reported_by ELSE p_by END;
  IF v_won = '{}' AND v_by IS NOT DISTINCT FROM v_old.reported_by THEN
    RETURN false;
  END IF;
  c := jsonb_populate_record(v_old, (SELECT jsonb_object_agg(w.key, p_says->w.key) FROM jsonb_object_keys(v_won) AS w(key)));
  UPDATE calls AS q SET
    told = v_old.told || v_won,
    assistant_id = c.assistant_id,
    state = c.state,
    state_rank = CASE WHEN v_won ? 'state' THEN (p_says->>'state_rank')::smallint ELSE v_old.state_rank END,
    started_at = c.started_at,
    ended_at = c.ended_at,
    seconds = c.seconds,
    estimated_seconds = c.estimated_seconds,
    cost_usd = c.cost_usd,
    ended_reason = c.ended_reason,
    phone_number_id = c.phone_number_id,
    call_type = c.call_type,
    customer_masked = CASE WHEN v_won ? 'customer' THEN p_says->'customer'->>'masked' ELSE v_old.customer_masked END,
    customer_sealed = CASE WHEN v_won ? 'customer' THEN p_says->'customer'->>'sealed' ELSE v_old.customer_sealed END,
    reported_at = CASE WHEN p_by IS NULL THEN v_old.reported_at ELSE coalesce(v_old.reported_at, v_now) END,
    reported_by = v_by,
    -- there is news: the pause after the last look is over
    look_at = CASE WHEN v_won ? 'state' AND (p_says->>'state_rank')::smallint > v_old.state_rank THEN NULL ELSE v_old.look_at END,
    updated_at = v_now
  WHERE q.tenant_id = p_tenant AND q.call_id = p_call;
  IF v_won ?| ARRAY['transcript', 'summary'] THEN
    INSERT INTO call_contents AS k (tenant_id, call_id, transcript_sealed, summary_sealed, kept_until)
    VALUES (p_tenant, p_call, CASE WHEN v_won ? 'transcript' THEN p_says->>'transcript' END,
            CASE WHEN v_won ? 'summary' THEN p_says->>'summary' END, v_now + make_interval(days => p_keep_days))
    ON CONFLICT (tenant_id, call_id) DO UPDATE SET
      transcript_sealed = coalesce(excluded.transcript_sealed, k.transcript_sealed),
      summary_sealed = coalesce(excluded.summary_sealed, k.summary_sealed);
  END IF;
  IF p_by IS NOT NULL THEN
    PERFORM app.bill_call_v1(v_old, c, CASE p_by WHEN 'vapi' THEN v_old.updated_at ELSE v_now END, v_now);
  END IF;
  RETURN true;
END $$;

-- The call is on the bill as c has it, where it was as v_old had it; dated by its end, or by p_heard where nobody told that.
CREATE FUNCTION app.bill_call_v1(v_old calls, c calls, p_heard timestamptz, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_at timestamptz := coalesce(c.ended_at, p_heard);
BEGIN
  INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
  SELECT c.tenant_id, u.meter, 'call:' || c.call_id, u.quantity, v_at, p_now
  FROM (VALUES ('calls', 1::numeric), ('call_seconds', c.seconds), ('vapi_cost_usd', c.cost_usd)) AS u(meter, quantity)
  WHERE u.quantity IS NOT NULL
  ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  IF v_old.seconds <> c.seconds OR v_old.cost_usd <> c.cost_usd THEN
    -- the number stands before the id, which is any text, so that no two calls' corrections are named alike
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
    SELECT c.tenant_id, u.meter, 'call-correction:' || v_old.corrections + 1 || ':' || c.call_id, u.quantity, v_at, p_now
    FROM (VALUES ('call_seconds', c.seconds - v_old.seconds), ('vapi_cost_usd', c.cost_usd - v_old.cost_usd)) AS u(meter, quantity)
    WHERE u.quantity <> 0;
    UPDATE calls AS q SET corrections = v_old.corrections + 1 WHERE q.tenant_id = c.tenant_id AND q.call_id = c.call_id;
  END IF;
END $$;

-- As app.record_call_v2 claims a report's or a status update's key; what it tells is joined to the call whatever became of the key: a
-- repetition may tell more. new, replay, or differs (a repetition that says something else); away from enforce also repeated, unchecked.
CREATE FUNCTION app.record_call_v3(
  p_tenant uuid, p_webhook uuid, p_type text, p_call text, p_assistant text, p_key bytea, p_fingerprint bytea, p_facts text, p_final boolean,
  p_mode text, p_standing text, p_says jsonb, p_keep_days integer
) RETURNS TABLE (outcome text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_fingerprint bytea;
  v_found text;
  v_outcome text := CASE p_mode WHEN 'off' THEN 'unchecked' ELSE 'new' END;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF p_mode <> 'off' THEN
    INSERT INTO processed_webhooks
      (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, arguments, answer, received_at)
    VALUES (p_tenant, p_key, p_fingerprint, p_webhook, 0, 'vapi', p_type, 'done', p_call, p_assistant, p_facts, '{}', app.now())
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
      END IF;
    END IF;
  END IF;
  PERFORM app.tell_call_v1(p_tenant, p_call, p_standing, p_says, CASE WHEN p_final THEN 'report' END, p_keep_days);
  RETURN QUERY SELECT v_outcome;
END $$;

-- As app.record_late_call_v1, with what Vapi told as a message of its own standing.
CREATE FUNCTION app.record_late_call_v2(
  p_tenant uuid, p_call text, p_claimed timestamptz, p_word text, p_pause interval, p_standing text, p_says jsonb, p_keep_days integer
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF p_word <> 'told' THEN
    RETURN app.record_late_call_v1(p_tenant, p_call, p_claimed, p_word, p_pause, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
  END IF;
  UPDATE calls AS q SET looks = q.looks + 1 WHERE q.tenant_id = p_tenant AND q.call_id = p_call;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM app.tell_call_v1(p_tenant, p_call, p_standing, p_says, 'vapi', p_keep_days);
  RETURN true;
END $$;

-- As app.note_calls_v1; and a call that no better message named an assistant of has the one that its tool calls named.
CREATE FUNCTION app.note_calls_v2(p_first uuid, p_tenants integer, p_most integer, p_lag interval, p_horizon interval)
RETURNS TABLE (following uuid, noted integer) LANGUAGE plpgsql
SET enable_seqscan = off AS $$  -- a plan made while a table was small must not outlive it
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  -- the first UUIDv7 of a millisecond: ids made before it sort before it
  v_until uuid := (lpad(to_hex((extract(epoch FROM v_now - p_lag) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
  v_oldest uuid := (lpad(to_hex((extract(epoch FROM v_now - p_horizon) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
  v_from uuid;
  v_last uuid;
  v_visited integer := 0;
  v_walked bigint := 0;
  v_found bigint;
  v_made integer;
  t record;
BEGIN
  noted := 0;
  FOR t IN
    SELECT n.id, n.status, w.watched_until FROM control.tenants AS n LEFT JOIN control.call_watch AS w ON w.tenant_id = n.id
    WHERE n.id >= p_first ORDER BY n.id LIMIT p_tenants + 1
  LOOP
    IF v_visited = p_tenants OR v_walked >= p_most THEN
      following := t.id;
      EXIT;
    END IF;
    v_visited := v_visited + 1;
    CONTINUE WHEN t.status = 'closed';
    PERFORM set_config('app.tenant_id', t.id::text, true);
    v_from := greatest(t.watched_until, v_oldest);
    SELECT b.webhook_id, b.place INTO v_last, v_found FROM (
      SELECT p.webhook_id, row_number() OVER (ORDER BY p.webhook_id) AS place FROM processed_webhooks AS p
      WHERE p.tenant_id = t.id AND p.webhook_id > v_from AND p.webhook_id < v_until ORDER BY p.webhook_id LIMIT p_most) AS b
    ORDER BY b.place DESC LIMIT 1;
    CONTINUE WHEN v_last IS NULL;
    v_walked := v_walked + v_found;
    -- in order of the call, so that two who note at once wait for each other in one direction only; what is known is not locked
    WITH made AS (
      INSERT INTO calls AS c (tenant_id, call_id, assistant_id, state, state_rank, told, created_at, updated_at)
      SELECT t.id, h.call_id, h.assistant_id, 'unknown', 5, h.told, h.first_at, h.last_at FROM (
        SELECT p.call_id, max(p.assistant_id COLLATE "C") AS assistant_id, min(p.received_at) AS first_at, max(p.received_at) AS last_at,
               jsonb_strip_nulls(jsonb_build_object('assistant_id', '1' || max(p.assistant_id COLLATE "C"))) AS told
        FROM processed_webhooks AS p
        WHERE p.tenant_id = t.id AND p.webhook_id > v_from AND p.webhook_id <= v_last AND p.source = 'vapi' AND p.call_id IS NOT NULL
        GROUP BY p.call_id) AS h
      LEFT JOIN calls AS k ON k.tenant_id = t.id AND k.call_id = h.call_id
      WHERE k.call_id IS NULL OR app.call_fields_won_v1(k, h.told->>'assistant_id', h.told) <> '{}'
      ORDER BY h.call_id
      ON CONFLICT (tenant_id, call_id) DO UPDATE SET assistant_id = excluded.assistant_id, told = c.told || excluded.told
      WHERE app.call_fields_won_v1(c, excluded.told->>'assistant_id', excluded.told) <> '{}'
      RETURNING c.xmax = 0 AS is_new)
    SELECT count(*) FILTER (WHERE made.is_new) INTO v_made FROM made;
    noted := noted + v_made;
    INSERT INTO control.call_watch AS w (tenant_id, watched_until) VALUES (t.id, v_last)
    ON CONFLICT (tenant_id) DO UPDATE SET watched_until = greatest(w.watched_until, excluded.watched_until);
  END LOOP;
  RETURN NEXT;
END $$;

-- Customer, transcript, summary and kept bodies of one call, and whom its tools reached; none of it comes back. Texts stay, and the number
-- in what is still to be done, until app.forget_kept_v1 finds it done. False: the tenant knows no such call.
CREATE FUNCTION app.forget_call_v1(p_tenant uuid, p_call text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF NOT EXISTS (SELECT 1 FROM calls AS q WHERE q.tenant_id = p_tenant AND q.call_id = p_call) AND NOT EXISTS (
    SELECT 1 FROM processed_webhooks AS p WHERE p.tenant_id = p_tenant AND p.call_id = p_call AND p.source = 'vapi') THEN
    RETURN false;
  END IF;
  -- first of all: a body that is being kept holds this row, and is there when bodies are looked for
  INSERT INTO calls AS q (tenant_id, call_id, state, state_rank, forgotten_at) VALUES (p_tenant, p_call, 'unknown', 5, app.now())
  ON CONFLICT (tenant_id, call_id) DO UPDATE SET customer_masked = NULL, customer_sealed = NULL, forgotten_at = excluded.forgotten_at;
  DELETE FROM call_contents AS k WHERE k.tenant_id = p_tenant AND k.call_id = p_call;
  DELETE FROM webhook_bodies AS b WHERE b.tenant_id = p_tenant AND b.webhook_id = ANY (ARRAY(
    SELECT DISTINCT p.webhook_id FROM processed_webhooks AS p
    WHERE p.tenant_id = p_tenant AND p.call_id = p_call AND p.source = 'vapi'));
  UPDATE processed_webhooks AS p SET caller = NULL
  WHERE p.tenant_id = p_tenant AND p.call_id = p_call AND p.source = 'vapi' AND p.caller IS NOT NULL AND p.state IN ('done', 'failed');
  RETURN true;
END $$;

-- Since when calls were forgotten whose tool calls may still hold a number: one that comes later is over as soon as its key.
CREATE FUNCTION app.forgotten_since_v1(p_tenant uuid) RETURNS timestamptz LANGUAGE sql STABLE AS
$$SELECT app.now() - make_interval(days => 1, hours => app.keys_hours_v1(p_tenant))$$;

-- What was said in calls and is kept no longer, of these tenants, each in its own scope, at most p_most calls of each in one go. One row
-- for each tenant with such calls (fewer than p_most: it is through), or with calls for app.forget_kept_v1 to walk.
CREATE FUNCTION app.forget_contents_v1(p_tenants uuid[], p_most integer, p_dry_run boolean)
RETURNS TABLE (tenant uuid, forgotten integer, to_walk boolean) LANGUAGE plpgsql SET lock_timeout = '50ms' AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_calls text[];
  t record;
BEGIN
  FOR t IN SELECT n.id, n.forget_from FROM unnest(p_tenants) AS a(id) JOIN control.tenants AS n ON n.id = a.id LOOP
    PERFORM set_config('app.tenant_id', t.id::text, true);
    v_calls := ARRAY(SELECT k.call_id FROM call_contents AS k WHERE k.tenant_id = t.id AND k.kept_until <= v_now ORDER BY k.kept_until LIMIT p_most);
    IF NOT p_dry_run THEN
      DELETE FROM call_contents AS k WHERE k.tenant_id = t.id AND k.call_id = ANY (v_calls) AND k.kept_until <= v_now;
    END IF;
    tenant := t.id;
    forgotten := cardinality(v_calls);
    to_walk := coalesce(t.forget_from <= v_now, false) OR EXISTS (
      SELECT 1 FROM calls AS q WHERE q.tenant_id = t.id AND q.forgotten_at > app.forgotten_since_v1(t.id));
    IF forgotten > 0 OR to_walk THEN
      RETURN NEXT;
    END IF;
  END LOOP;
END $$;

-- One batch of a tenant's calls after p_after ('' is before all): what its setting keeps no more, where it asked for that, kept bodies
-- included; and numbers that tool calls left on calls that were forgotten. walked < p_most: there are no more.
CREATE FUNCTION app.forget_kept_v1(p_tenant uuid, p_after text, p_most integer, p_dry_run boolean)
RETURNS TABLE (walked integer, forgotten integer, last_call text) LANGUAGE plpgsql SET lock_timeout = '50ms' AS $$
#variable_conflict use_column
DECLARE
  v_wished boolean;
  v_calls text[];
  v_keys bytea[];
  v_called text[];  -- of each key its call
  v_personal text[] := '{}';
  v_bodies uuid[] := '{}';
  t record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  SELECT n.forget_from, n.privacy->>'customer' AS customer, (n.privacy->>'transcripts')::boolean AS transcripts,
         (n.privacy->>'summaries')::boolean AS summaries INTO t
  FROM control.tenants AS n WHERE n.id = p_tenant;
  v_wished := coalesce(t.forget_from <= app.now(), false);
  IF v_wished THEN
    v_calls := ARRAY(SELECT q.call_id FROM calls AS q WHERE q.tenant_id = p_tenant AND q.call_id > p_after ORDER BY q.call_id LIMIT p_most);
    v_personal := ARRAY(
      SELECT q.call_id FROM calls AS q LEFT JOIN call_contents AS k ON k.tenant_id = p_tenant AND k.call_id = q.call_id
      WHERE q.tenant_id = p_tenant AND q.call_id = ANY (v_calls) AND ((t.customer <> 'encrypted' AND q.customer_sealed IS NOT NULL)
        OR (t.customer = 'none' AND q.customer_masked IS NOT NULL) OR (NOT t.transcripts AND k.transcript_sealed IS NOT NULL)
        OR (NOT t.summaries AND k.summary_sealed IS NOT NULL)));
    IF t.customer <> 'encrypted' OR NOT t.transcripts OR NOT t.summaries THEN
      -- a body that is kept cannot be looked into here; what could not be handled yet is handled from its body
      v_bodies := ARRAY(
        SELECT DISTINCT p.webhook_id FROM processed_webhooks AS p
        WHERE p.tenant_id = p_tenant AND p.call_id = ANY (v_calls) AND p.source = 'vapi' AND p.webhook_id < app.first_id_at(t.forget_from)
          AND p.state IN ('done', 'failed'));
    END IF;
  ELSE
    v_calls := ARRAY(
      SELECT q.call_id FROM calls AS q
      WHERE q.tenant_id = p_tenant AND q.call_id > p_after AND q.forgotten_at > app.forgotten_since_v1(p_tenant)
      ORDER BY q.call_id LIMIT p_most);
  END IF;
  SELECT coalesce(array_agg(p.key), '{}'), coalesce(array_agg(p.call_id), '{}') INTO v_keys, v_called
  FROM processed_webhooks AS p JOIN calls AS q ON q.tenant_id = p_tenant AND q.call_id = p.call_id
  WHERE p.tenant_id = p_tenant AND p.call_id = ANY (v_calls) AND p.source = 'vapi' AND p.caller IS NOT NULL
    AND p.state IN ('done', 'failed') AND (q.forgotten_at IS NOT NULL OR (v_wished AND t.customer = 'none'));
  IF NOT p_dry_run THEN
    UPDATE calls AS q SET
      customer_sealed = CASE t.customer WHEN 'encrypted' THEN q.customer_sealed END,
      customer_masked = CASE t.customer WHEN 'none' THEN NULL ELSE q.customer_masked END
    WHERE q.tenant_id = p_tenant AND q.call_id = ANY (v_personal);
    UPDATE call_contents AS k SET
      transcript_sealed = CASE WHEN t.transcripts THEN k.transcript_sealed END,
      summary_sealed = CASE WHEN t.summaries THEN k.summary_sealed END
    WHERE k.tenant_id = p_tenant AND k.call_id = ANY (v_personal);
    DELETE FROM webhook_bodies AS b WHERE b.tenant_id = p_tenant AND b.webhook_id = ANY (v_bodies);
    UPDATE processed_webhooks AS p SET caller = NULL WHERE p.tenant_id = p_tenant AND p.key = ANY (v_keys) AND p.state IN ('done', 'failed');
    IF v_wished AND cardinality(v_calls) < p_most THEN
      UPDATE control.tenants AS n SET forget_from = NULL WHERE n.id = p_tenant AND n.forget_from = t.forget_from;
    END IF;
  END IF;
  walked := cardinality(v_calls);
  forgotten := (SELECT count(DISTINCT f.call_id) FROM unnest(v_personal || v_called) AS f(call_id));
  last_call := v_calls[walked];
  RETURN NEXT;
END $$;

GRANT EXECUTE ON FUNCTION app.snapshot_privacy_v1, app.call_fields_won_v1, app.tell_call_v1, app.bill_call_v1, app.record_call_v3,
  app.record_late_call_v2, app.note_calls_v2, app.forget_call_v1, app.forgotten_since_v1, app.forget_contents_v1,
  app.forget_kept_v1 TO {app};
