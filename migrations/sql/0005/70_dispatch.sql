-- The dispatcher's fast lane, a tenant's messages in one statement each (decision 0028). Statements find a message by its primary key
-- (a range and an order, as in 0002/20_accept.sql), lock it, and change it by its place, which stays while the lock is held.
ALTER TABLE control.schedule
  ADD COLUMN owed_until timestamptz NOT NULL DEFAULT '-infinity',  -- when what was granted so far is paid off: told to a Redis that forgot
  ADD COLUMN turns integer NOT NULL DEFAULT 0;                     -- grants so far: every so often a lower class goes first

-- The mode of the switch pacing: of the tenant's own and everybody's the one that is farther from enforce.
CREATE FUNCTION app.pacing_mode_v1(p_tenant uuid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce(
    (SELECT w.mode FROM control.switches AS w WHERE w.name = 'pacing' AND (w.tenant_id = p_tenant OR w.tenant_id IS NULL)
     ORDER BY array_position(ARRAY['off', 'observe', 'enforce'], w.mode) LIMIT 1), 'enforce')
$$;

-- Fair pick as app.take_due_v2, and: a hold says why itself; the rate is the one that holds now; owed_for seconds of what was granted are
-- not paid off yet; in the mode observe or off the rate bounds nothing. One-time codes go first, then transactional texts, then marketing; but
-- of every eight turns one begins with the lowest class that waits and one with the middle one, for half of its quantum, so that each
-- class has a sixteenth. Rows come in the order in which slots are to be asked.
CREATE FUNCTION app.take_due_v3(p_worker uuid, p_arrivals integer, p_most integer, p_quantum integer, p_horizon double precision, p_claim interval)
RETURNS TABLE (tenant_id uuid, registration_id uuid, message_id uuid, segments smallint, attempt smallint, per_minute integer,
               owed_for double precision, pacing text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  s record;
  m record;
  v_now timestamptz;
  v_found integer;
  v_rows integer;
  v_rate integer;
  v_quantum integer;
  v_favoured smallint;
  v_first uuid[];
  v_next timestamptz;
  v_held_until timestamptz;
  v_reason text;
BEGIN
  PERFORM app.fold_arrivals_v1(p_arrivals);
  v_now := app.now();
  FOR s IN
    SELECT d.tenant_id, d.registration_id, d.turns, app.hold_reason_v1(d.tenant_id) AS hold, app.pacing_mode_v1(d.tenant_id) AS pacing,
           CASE WHEN d.owed_until > v_now THEN extract(epoch FROM d.owed_until - v_now) ELSE 0 END::double precision AS owed_for
    FROM control.schedule AS d
    WHERE d.has_work AND d.hold_reason IS NULL AND d.next_at <= v_now
    ORDER BY d.next_at, d.tenant_id LIMIT p_most FOR UPDATE SKIP LOCKED
  LOOP
    v_reason := s.hold;
    v_held_until := NULL;
    IF v_reason IS NULL THEN
      PERFORM set_config('app.tenant_id', s.tenant_id::text, true);
      SELECT app.rate_now_v1(r.tenant_id, r.id, r.segments_per_minute), h.reason, h.held_until INTO v_rate, v_reason, v_held_until
      FROM registrations AS r LEFT JOIN registration_holds AS h ON h.tenant_id = r.tenant_id AND h.registration_id = r.id AND h.held_until > v_now
      WHERE r.tenant_id = s.tenant_id AND r.id = s.registration_id;
    END IF;
    IF v_reason IS NOT NULL THEN
      UPDATE control.schedule AS d SET hold_reason = v_reason, held_until = v_held_until
      WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
      RETURN QUERY SELECT s.tenant_id, s.registration_id, NULL::uuid, NULL::smallint, NULL::smallint, NULL::integer, s.owed_for, s.pacing;
      CONTINUE;
    END IF;
    v_rate := coalesce(v_rate, 0);
    v_quantum := CASE WHEN s.pacing = 'enforce' THEN least(p_quantum, 1 + ceil(v_rate / 60.0 * p_horizon)::integer) ELSE p_quantum END;
    v_first := '{}';
    v_favoured := CASE s.turns % 8 WHEN 7 THEN 2 WHEN 3 THEN 1 ELSE 0 END;
    WHILE v_favoured > 0 LOOP
      FOR m IN
        SELECT q.id, q.segments, q.attempt FROM messages AS q
        WHERE q.tenant_id = s.tenant_id AND q.registration_id = s.registration_id AND q.priority = v_favoured
          AND q.status IN ('queued', 'scheduled') AND q.due_at <= v_now
        ORDER BY q.due_at, q.id LIMIT greatest(1, v_quantum / 2)
      LOOP
        v_first := v_first || m.id;
        RETURN QUERY SELECT s.tenant_id, s.registration_id, m.id, m.segments, m.attempt, v_rate, s.owed_for, s.pacing;
      END LOOP;
      EXIT WHEN cardinality(v_first) > 0;
      v_favoured := v_favoured - 1;
    END LOOP;
    v_found := cardinality(v_first);
    FOR v_class IN 0..2 LOOP  -- a loop, so that the index serves each class in order of due time
      EXIT WHEN v_found >= v_quantum;
      RETURN QUERY
        SELECT q.tenant_id, q.registration_id, q.id, q.segments, q.attempt, v_rate, s.owed_for, s.pacing FROM messages AS q
        WHERE q.tenant_id = s.tenant_id AND q.registration_id = s.registration_id AND q.priority = v_class::smallint
          AND q.status IN ('queued', 'scheduled') AND q.due_at <= v_now AND q.id <> ALL (v_first)
        ORDER BY q.due_at, q.id LIMIT v_quantum - v_found;
      GET DIAGNOSTICS v_rows = ROW_COUNT;
      v_found := v_found + v_rows;
    END LOOP;
    IF v_found > 0 THEN
      UPDATE control.schedule AS d SET picked_by = p_worker, picked_until = v_now + p_claim, next_at = v_now + p_claim
      WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
    ELSE
      v_next := app.next_due_v1(s.tenant_id, s.registration_id);
      UPDATE control.schedule AS d SET next_at = coalesce(v_next, d.next_at), has_work = v_next IS NOT NULL,
        queued_segments = CASE WHEN v_next IS NULL THEN 0 ELSE d.queued_segments END,
        queued_messages = CASE WHEN v_next IS NULL THEN 0 ELSE d.queued_messages END
      WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
      RETURN QUERY SELECT s.tenant_id, s.registration_id, NULL::uuid, NULL::smallint, NULL::smallint, NULL::integer, s.owed_for, s.pacing;
    END IF;
  END LOOP;
END $$;

-- Lease the messages that were granted a slot, give the registration back to the schedule, as app.lease_v1. What is leased must still be
-- the attempt that was picked. p_picks: [{tenant_id, registration_id, paced_for, owed, granted: [{id, attempt, wait}]}], seconds; owed: when
-- the slots granted so far are paid off. at_once: calls that its account may have in flight, null for any number. timed: whether some rule of
-- hours may hold it.
CREATE FUNCTION app.lease_v2(p_worker uuid, p_picks jsonb, p_lease interval, p_check interval, p_begin double precision)
RETURNS TABLE (tenant_id uuid, message_id uuid, registration_id uuid, recipient text, body text, class text, attempt smallint, due_at timestamptz,
               slug text, tier text, account_sid text, auth_token_sealed text, api_key_sid text, api_key_secret_sealed text, from_number text,
               messaging_service_sid text, begun boolean, expires_at timestamptz, at_once integer, timed boolean)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
  p record;
  t record;
  f record;
  v_now timestamptz := app.now();
  v_next timestamptz;
BEGIN
  FOR p IN SELECT x.tenant_id, x.registration_id, x.paced_for, x.owed, x.granted
           FROM jsonb_to_recordset(p_picks) AS x(tenant_id uuid, registration_id uuid, paced_for double precision, owed double precision, granted jsonb)
           ORDER BY x.tenant_id, x.registration_id
  LOOP
    -- a claim that ended belongs to somebody else: its slots are lost, never used twice
    PERFORM 1 FROM control.schedule AS d
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id AND d.picked_by = p_worker AND d.picked_until > v_now FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    IF jsonb_array_length(p.granted) = 0 THEN
      SELECT NULL::tid[] AS places, 0::bigint AS segments, 0::bigint AS messages INTO f;
      v_next := v_now;
    ELSE
      PERFORM set_config('app.tenant_id', p.tenant_id::text, true);
      SELECT c.slug, (SELECT r.tier FROM senders AS d JOIN registrations AS r ON r.tenant_id = d.tenant_id AND r.id = d.registration_id
                      WHERE d.tenant_id = p.tenant_id AND d.is_default LIMIT 1) AS tier,
             EXISTS (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p.tenant_id) AS opted,
             EXISTS (SELECT 1 FROM sender_opt_outs AS o WHERE o.tenant_id = p.tenant_id) AS opted_by_sender,
             EXISTS (SELECT 1 FROM quiet_hours AS q WHERE q.tenant_id = p.tenant_id) AS timed
      INTO t FROM control.tenants AS c WHERE c.id = p.tenant_id;
      SELECT array_agg(g.place) FILTER (WHERE NOT g.opted) AS places, array_agg(g.wait) FILTER (WHERE NOT g.opted) AS waits,
             array_agg(g.id) FILTER (WHERE g.opted) AS opted, array_agg(g.place) FILTER (WHERE g.opted) AS opted_places,
             coalesce(sum(g.segments), 0) AS segments, count(*) AS messages
      INTO f FROM (
        SELECT x.id, x.wait, m.place, m.segments,
               CASE WHEN t.opted THEN EXISTS (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p.tenant_id AND o.recipient = m.recipient) ELSE false END
               OR CASE WHEN t.opted_by_sender THEN EXISTS (SELECT 1 FROM sender_opt_outs AS o
                  WHERE o.tenant_id = p.tenant_id AND o.recipient = m.recipient AND o.sender_id = m.sender_id) ELSE false END AS opted
        FROM (SELECT y.id, y.attempt, y.wait FROM jsonb_to_recordset(p.granted) AS y(id uuid, attempt smallint, wait double precision) ORDER BY y.id) AS x
        CROSS JOIN LATERAL (
          SELECT q.ctid AS place, q.status, q.attempt, q.recipient, q.sender_id, q.segments FROM messages AS q
          WHERE q.tenant_id = p.tenant_id AND q.id BETWEEN x.id AND x.id ORDER BY q.id LIMIT 1 FOR UPDATE) AS m
        WHERE m.status IN ('queued', 'scheduled') AND m.attempt = x.attempt OFFSET 0) AS g;
      IF f.opted IS NOT NULL THEN
        UPDATE messages AS u SET status = 'failed', error_code = 21610, error_class = 'opt_out', updated_at = v_now WHERE u.ctid = ANY (f.opted_places);
        INSERT INTO message_events (tenant_id, message_id, at, status, detail)
        SELECT p.tenant_id, o, v_now, 'failed', 'opted out before sending' FROM unnest(f.opted) AS o;
      END IF;
      RETURN QUERY
        WITH leased AS (
          UPDATE messages AS u SET status = 'sending', attempt = u.attempt + 1, lease_owner = p_worker,
            sending_at = CASE WHEN g.wait <= p_begin THEN v_now END,
            lease_until = v_now + p_lease + make_interval(secs => g.wait), error_code = NULL, error_class = NULL, updated_at = v_now
          FROM unnest(f.places, f.waits) AS g(place, wait) WHERE u.ctid = g.place
          RETURNING u.id, u.recipient, u.body, u.class, u.attempt, u.due_at, u.sender_id, u.expires_at, g.wait
        ), s AS MATERIALIZED (
          SELECT d.id, d.account_sid, d.auth_token_sealed, d.api_key_sid, d.api_key_secret_sealed, d.from_number, d.messaging_service_sid,
                 app.at_once_v1(p.tenant_id, d.account_sid) AS at_once
          FROM senders AS d WHERE d.tenant_id = p.tenant_id AND d.id = ANY (ARRAY(SELECT DISTINCT l.sender_id FROM leased AS l))
        )
        SELECT p.tenant_id, l.id, p.registration_id, l.recipient, l.body, l.class, l.attempt, l.due_at, t.slug, coalesce(t.tier, 'none'),
          s.account_sid, s.auth_token_sealed, s.api_key_sid, s.api_key_secret_sealed, s.from_number, s.messaging_service_sid, l.wait <= p_begin,
          l.expires_at, s.at_once, l.class = 'marketing' OR (t.timed AND l.class <> 'otp')
        FROM leased AS l JOIN s ON s.id = l.sender_id;
      v_next := app.next_due_v1(p.tenant_id, p.registration_id);
    END IF;
    UPDATE control.schedule AS d SET
      picked_by = NULL, picked_until = '-infinity',
      paced_until = v_now + make_interval(secs => p.paced_for),
      owed_until = CASE WHEN p.owed > 0 THEN greatest(d.owed_until, v_now + make_interval(secs => p.owed)) ELSE d.owed_until END,
      turns = CASE WHEN jsonb_array_length(p.granted) > 0 THEN (d.turns + 1) % 8 ELSE d.turns END,
      has_work = v_next IS NOT NULL,
      next_at = greatest(coalesce(v_next, v_now), v_now + make_interval(secs => p.paced_for)),
      queued_segments = CASE WHEN v_next IS NULL THEN 0 ELSE greatest(0, d.queued_segments - f.segments) END,
      queued_messages = CASE WHEN v_next IS NULL THEN 0 ELSE greatest(0, d.queued_messages - f.messages) END,
      check_at = CASE WHEN f.places IS NOT NULL THEN least(d.check_at, v_now + p_check) ELSE d.check_at END
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id;
  END LOOP;
END $$;

-- Leased messages whose request is about to be written, as app.begin_sending_v1. p_messages: [{tenant_id, message_id, attempt, needs}], seconds.
CREATE FUNCTION app.begin_sending_v2(p_worker uuid, p_messages jsonb) RETURNS TABLE (message_id uuid)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
  b record;
  v_now timestamptz := app.now();
  v_places tid[];
BEGIN
  FOR b IN SELECT x.tenant_id, jsonb_agg(x) AS messages
           FROM jsonb_to_recordset(p_messages) AS x(tenant_id uuid, message_id uuid, attempt smallint, needs double precision)
           GROUP BY x.tenant_id ORDER BY x.tenant_id
  LOOP
    PERFORM set_config('app.tenant_id', b.tenant_id::text, true);
    SELECT array_agg(m.place) INTO v_places
    FROM (SELECT y.message_id, y.attempt, y.needs FROM jsonb_to_recordset(b.messages) AS y(message_id uuid, attempt smallint, needs double precision)
          ORDER BY y.message_id) AS x
    CROSS JOIN LATERAL (
      SELECT q.ctid AS place, q.status, q.attempt, q.lease_owner, q.lease_until FROM messages AS q
      WHERE q.tenant_id = b.tenant_id AND q.id BETWEEN x.message_id AND x.message_id ORDER BY q.id LIMIT 1 FOR UPDATE) AS m
    WHERE m.status = 'sending' AND m.lease_owner = p_worker AND m.attempt = x.attempt AND m.lease_until > v_now + make_interval(secs => x.needs);
    RETURN QUERY UPDATE messages AS u SET sending_at = v_now WHERE u.ctid = ANY (v_places) RETURNING u.id;
  END LOOP;
END $$;

-- A worker that does not know whether its lease was granted (its connection broke) takes it back: it has sent none of these. The attempt
-- tells that lease from a later one of the same worker's. p_picks as app.lease_v2.
CREATE FUNCTION app.give_back_v2(p_worker uuid, p_picks jsonb) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  p record;
  g record;
  v_now timestamptz := app.now();
  v_segments integer;
  v_given integer := 0;
BEGIN
  FOR p IN SELECT x.tenant_id, x.registration_id, x.granted
           FROM jsonb_to_recordset(p_picks) AS x(tenant_id uuid, registration_id uuid, granted jsonb) ORDER BY x.tenant_id, x.registration_id
  LOOP
    UPDATE control.schedule AS d SET picked_by = NULL, picked_until = '-infinity', next_at = v_now
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id AND d.picked_by = p_worker;
    PERFORM set_config('app.tenant_id', p.tenant_id::text, true);
    FOR g IN SELECT x.id, x.attempt FROM jsonb_to_recordset(p.granted) AS x(id uuid, attempt smallint) LOOP
      UPDATE messages AS u SET status = 'queued', lease_owner = NULL, lease_until = NULL, updated_at = v_now
      WHERE u.tenant_id = p.tenant_id AND u.id = g.id AND u.status = 'sending' AND u.lease_owner = p_worker AND u.attempt = g.attempt + 1
      RETURNING u.segments INTO v_segments;
      IF FOUND THEN
        v_given := v_given + 1;
        INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p.tenant_id, p.registration_id, v_now, v_segments);
      END IF;
    END LOOP;
  END LOOP;
  RETURN v_given;
END $$;

GRANT EXECUTE ON FUNCTION app.pacing_mode_v1, app.take_due_v3, app.lease_v2, app.begin_sending_v2, app.give_back_v2 TO {app};
