-- Calls whose report never came: found, claimed, and filled from what Vapi itself says of them.

-- Calls that only tool calls spoke of get a row: walk what came since the last time, up to p_lag ago (an id is made before its row is
-- committed, and clocks differ) and no farther back than p_horizon. p_tenants tenants from p_first on, at most p_most effects of each,
-- and no further tenant after p_most in all, so that a statement stays short however much there is to catch up with.
-- Gives how many calls were noted, and the tenant to go on with; null when the round is over. A quiet tenant costs one look at an index.
CREATE FUNCTION app.note_calls_v1(p_first uuid, p_tenants integer, p_most integer, p_lag interval, p_horizon interval)
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
    -- in order of the call, so that two who note at once wait for each other in one direction only
    INSERT INTO calls (tenant_id, call_id, assistant_id, state, state_rank, created_at, updated_at)
    SELECT t.id, p.call_id, max(p.assistant_id), 'unknown', 5, min(p.received_at), max(p.received_at) FROM processed_webhooks AS p
    WHERE p.tenant_id = t.id AND p.webhook_id > v_from AND p.webhook_id <= v_last AND p.source = 'vapi' AND p.call_id IS NOT NULL
    GROUP BY p.call_id ORDER BY p.call_id
    ON CONFLICT (tenant_id, call_id) DO NOTHING;
    GET DIAGNOSTICS v_made = ROW_COUNT;
    noted := noted + v_made;
    INSERT INTO control.call_watch AS w (tenant_id, watched_until) VALUES (t.id, v_last)
    ON CONFLICT (tenant_id) DO UPDATE SET watched_until = greatest(w.watched_until, excluded.watched_until);
  END LOOP;
  RETURN NEXT;
END $$;

-- Calls that did not report and whose last news is older than the grace (p_ended: it is known to have ended; p_open: it is not), claimed for
-- p_claim: whoever claimed them and died leaves them to the next one. At most p_each of a tenant, and no further tenant after p_most.
-- The last row tells no call but the tenant to go on with; null when the round is over.
CREATE FUNCTION app.take_unreported_calls_v1(
  p_first uuid, p_tenants integer, p_each integer, p_most integer, p_ended interval, p_open interval, p_claim interval
) RETURNS TABLE (tenant_id uuid, call_id text, assistant_id text, looks smallint, claimed_until timestamptz, quiet interval) LANGUAGE plpgsql
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := app.now();
  v_visited integer := 0;
  v_taken integer := 0;
  v_next uuid;
  t record;
  c record;
BEGIN
  FOR t IN SELECT n.id, n.status FROM control.tenants AS n WHERE n.id >= p_first ORDER BY n.id LIMIT p_tenants + 1 LOOP
    IF v_visited = p_tenants OR v_taken >= p_most THEN
      v_next := t.id;
      EXIT;
    END IF;
    v_visited := v_visited + 1;
    CONTINUE WHEN t.status = 'closed';
    PERFORM set_config('app.tenant_id', t.id::text, true);
    FOR c IN
      WITH due AS MATERIALIZED (
        SELECT q.call_id FROM calls AS q
        WHERE q.tenant_id = t.id AND q.reported_at IS NULL AND coalesce(q.look_at, q.updated_at) <= v_now
          AND q.updated_at <= v_now - CASE q.state WHEN 'ended' THEN p_ended ELSE p_open END
        ORDER BY coalesce(q.look_at, q.updated_at) LIMIT p_each FOR UPDATE SKIP LOCKED
      )
      UPDATE calls AS k SET look_at = v_now + p_claim FROM due
      WHERE k.tenant_id = t.id AND k.call_id = due.call_id
      RETURNING k.call_id, k.assistant_id, k.looks, k.look_at, v_now - k.updated_at AS quiet
    LOOP
      v_taken := v_taken + 1;
      tenant_id := t.id;
      call_id := c.call_id;
      assistant_id := c.assistant_id;
      looks := c.looks;
      claimed_until := c.look_at;
      quiet := c.quiet;
      RETURN NEXT;
    END LOOP;
  END LOOP;
  RETURN QUERY SELECT v_next, NULL::text, NULL::text, NULL::smallint, NULL::timestamptz, NULL::interval;
END $$;

-- What asking Vapi about a call showed. p_word: told (it has ended, and this is what is known of it) · again (a look that told nothing) ·
-- later (no look: nobody could be asked) · nobody (asked in vain, and asked no more). The next look comes p_pause from now.
-- told is as a report in app.record_call_v2: gaps are filled, and the ledger's source is the report's own, so that whichever of the two
-- comes first is billed and the other is not. It stands whoever asked; the other words are the claim's holder's only (p_claimed).
-- A call that is gone (its tenant was erased) does not come back. False: nothing was changed.
CREATE FUNCTION app.record_late_call_v1(
  p_tenant uuid, p_call text, p_claimed timestamptz, p_word text, p_pause interval, p_assistant text, p_started_at timestamptz,
  p_ended_at timestamptz, p_seconds numeric, p_estimated_seconds numeric, p_cost_usd numeric, p_ended_reason text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_heard timestamptz;
  v_seconds numeric;
  v_cost numeric;
  v_at timestamptz;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  IF p_word <> 'told' THEN
    UPDATE calls AS c SET
      looks = CASE p_word WHEN 'later' THEN c.looks ELSE c.looks + 1 END,
      look_at = v_now + p_pause,
      reported_at = CASE p_word WHEN 'nobody' THEN v_now END,
      reported_by = CASE p_word WHEN 'nobody' THEN 'nobody' END
    WHERE c.tenant_id = p_tenant AND c.call_id = p_call AND c.reported_at IS NULL AND c.look_at = p_claimed;
    RETURN FOUND;
  END IF;
  SELECT c.updated_at INTO v_heard FROM calls AS c WHERE c.tenant_id = p_tenant AND c.call_id = p_call FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE calls AS c SET
    assistant_id = coalesce(c.assistant_id, p_assistant),
    state = CASE WHEN c.state_rank < 90 THEN 'ended' ELSE c.state END,
    state_rank = greatest(c.state_rank, 90),
    started_at = coalesce(c.started_at, p_started_at),
    ended_at = coalesce(c.ended_at, p_ended_at),
    seconds = coalesce(c.seconds, p_seconds),
    estimated_seconds = coalesce(c.estimated_seconds, p_estimated_seconds),
    cost_usd = coalesce(c.cost_usd, p_cost_usd),
    ended_reason = coalesce(c.ended_reason, p_ended_reason),
    reported_at = coalesce(c.reported_at, v_now),
    reported_by = coalesce(nullif(c.reported_by, 'nobody'), 'vapi'),
    looks = c.looks + 1,
    updated_at = v_now
  WHERE c.tenant_id = p_tenant AND c.call_id = p_call
  RETURNING c.seconds, c.cost_usd, coalesce(c.ended_at, v_heard) INTO v_seconds, v_cost, v_at;
  INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
  SELECT p_tenant, u.meter, 'call:' || p_call, u.quantity, v_at, v_now
  FROM (VALUES ('calls', 1::numeric), ('call_seconds', v_seconds), ('vapi_cost_usd', v_cost)) AS u(meter, quantity)
  WHERE u.quantity IS NOT NULL
  ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  RETURN true;
END $$;

-- The tenant has another key: what could not be asked, or was asked in vain, is asked again, as far back as p_since. Gives how many.
CREATE FUNCTION app.ask_again_v1(p_tenant uuid, p_since interval) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_found integer;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  UPDATE calls AS c SET reported_at = NULL, reported_by = NULL, looks = 0, look_at = NULL
  WHERE c.tenant_id = p_tenant AND c.created_at > app.now() - p_since
    AND (c.reported_by = 'nobody' OR (c.reported_at IS NULL AND c.look_at IS NOT NULL));
  GET DIAGNOSTICS v_found = ROW_COUNT;
  RETURN v_found;
END $$;

GRANT EXECUTE ON FUNCTION app.note_calls_v1, app.take_unreported_calls_v1, app.record_late_call_v1, app.ask_again_v1 TO {app};
