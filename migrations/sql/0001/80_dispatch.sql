-- The dispatcher's fast lane: fold, pick, lease. Each function here and in the next three files serves several tenants in turn,
-- entering the scope of each: one round trip a batch.
--
-- Order of locks: rows of control.schedule in order of their key, then messages. Whoever holds a message first (an outcome, a
-- receipt, a cancellation) never asks for a row of the schedule: it leaves an arrival, which the next fold brings there.

-- What arrived becomes visible to the schedule. Negative segments take back what will not be sent. Rows are put in order of
-- their key, so two workers never wait for each other in a ring; the array makes the LIMIT hold under any plan.
CREATE FUNCTION app.fold_arrivals_v1(p_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_folded integer;
BEGIN
  WITH taken AS (
    DELETE FROM control.arrivals WHERE id = ANY (ARRAY(SELECT a.id FROM control.arrivals AS a ORDER BY a.id LIMIT p_most FOR UPDATE SKIP LOCKED))
    RETURNING tenant_id, registration_id, due_at, segments
  ), summed AS (
    SELECT tenant_id, registration_id, min(due_at) FILTER (WHERE segments > 0) AS due_at, sum(segments) AS segments, sum(sign(segments)) AS messages
    FROM taken GROUP BY tenant_id, registration_id ORDER BY tenant_id, registration_id
  ), put AS (
    INSERT INTO control.schedule AS s (tenant_id, registration_id, next_at, has_work, queued_segments, queued_messages)
    SELECT tenant_id, registration_id, coalesce(due_at, 'infinity'), due_at IS NOT NULL, segments, messages FROM summed
    ON CONFLICT (tenant_id, registration_id) DO UPDATE SET
      next_at = CASE WHEN NOT excluded.has_work THEN s.next_at
                     WHEN s.has_work THEN least(s.next_at, greatest(excluded.next_at, s.paced_until, s.picked_until))
                     ELSE greatest(excluded.next_at, s.paced_until) END,
      has_work = s.has_work OR excluded.has_work,
      queued_segments = greatest(0, s.queued_segments + excluded.queued_segments),
      queued_messages = greatest(0, s.queued_messages + excluded.queued_messages)
    RETURNING 1
  )
  SELECT count(*) INTO v_folded FROM taken;
  RETURN v_folded;
END $$;

-- Why nothing of a tenant may leave now, or null. The stricter of a tenant's own switch and everybody's holds.
CREATE FUNCTION app.hold_reason_v1(p_tenant uuid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN (SELECT t.status FROM control.tenants AS t WHERE t.id = p_tenant) IS DISTINCT FROM 'active' THEN 'suspended'
    WHEN EXISTS (SELECT 1 FROM control.switches AS w WHERE w.name = 'sending' AND w.mode = 'hold' AND (w.tenant_id = p_tenant OR w.tenant_id IS NULL))
      THEN 'sending held'
  END
$$;

-- Fair pick: registrations in the order in which they were last served, and of each a quantum of due messages, no more than
-- its rate lets leave within p_horizon seconds. A pick is a claim that ends by itself (picked_until); nobody else looks at the
-- registration meanwhile. A registration that was visited in vain gives one row without a message: then there may be more to visit.
CREATE FUNCTION app.take_due_v1(p_worker uuid, p_arrivals integer, p_most integer, p_quantum integer, p_horizon double precision, p_claim interval)
RETURNS TABLE (tenant_id uuid, registration_id uuid, message_id uuid, segments smallint, per_minute integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  s record;
  v_now timestamptz;
  v_found integer;
  v_rows integer;
  v_rate integer;
  v_quantum integer;
  v_next timestamptz;
  v_hold text;
BEGIN
  PERFORM app.fold_arrivals_v1(p_arrivals);
  v_now := app.now();
  FOR s IN
    SELECT d.tenant_id, d.registration_id FROM control.schedule AS d
    WHERE d.has_work AND d.hold_reason IS NULL AND d.next_at <= v_now
    ORDER BY d.next_at, d.tenant_id LIMIT p_most FOR UPDATE SKIP LOCKED
  LOOP
    v_hold := app.hold_reason_v1(s.tenant_id);
    IF v_hold IS NOT NULL THEN
      UPDATE control.schedule AS d SET hold_reason = v_hold WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
      RETURN QUERY SELECT s.tenant_id, s.registration_id, NULL::uuid, NULL::smallint, NULL::integer;
      CONTINUE;
    END IF;
    PERFORM set_config('app.tenant_id', s.tenant_id::text, true);
    SELECT r.segments_per_minute INTO v_rate FROM registrations AS r WHERE r.tenant_id = s.tenant_id AND r.id = s.registration_id;
    v_quantum := least(p_quantum, 1 + ceil(coalesce(v_rate, 0) / 60.0 * p_horizon)::integer);
    v_found := 0;
    FOR v_class IN 0..2 LOOP  -- a loop, so that the index serves each class in order of due time
      EXIT WHEN v_found >= v_quantum;
      RETURN QUERY
        SELECT m.tenant_id, m.registration_id, m.id, m.segments, coalesce(v_rate, 0) FROM messages AS m
        WHERE m.tenant_id = s.tenant_id AND m.registration_id = s.registration_id AND m.priority = v_class::smallint
          AND m.status IN ('queued', 'scheduled') AND m.due_at <= v_now
        ORDER BY m.due_at, m.id LIMIT v_quantum - v_found;
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
      RETURN QUERY SELECT s.tenant_id, s.registration_id, NULL::uuid, NULL::smallint, NULL::integer;
    END IF;
  END LOOP;
END $$;

-- When the earliest waiting message of a registration is due; null when none waits. Runs in the tenant's scope.
CREATE FUNCTION app.next_due_v1(p_tenant uuid, p_registration uuid) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT min(earliest.due_at) FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) AS class(priority) CROSS JOIN LATERAL (
    SELECT m.due_at FROM messages AS m
    WHERE m.tenant_id = p_tenant AND m.registration_id = p_registration AND m.priority = class.priority
      AND m.status IN ('queued', 'scheduled')
    ORDER BY m.due_at LIMIT 1) AS earliest
$$;

-- Lease the messages that were granted a slot, give the registration back to the schedule. Whatever is not returned was
-- cancelled or opted out meanwhile; what is comes with all that a call to Twilio needs (secrets sealed), so that nothing more is
-- read before it. p_picks: [{tenant_id, registration_id, paced_for, granted: [{id, wait}]}], seconds. An open message is looked
-- after at least every p_check, until none is left.
CREATE FUNCTION app.lease_v1(p_worker uuid, p_picks jsonb, p_lease interval, p_check interval, p_begin double precision)
RETURNS TABLE (tenant_id uuid, message_id uuid, registration_id uuid, recipient text, body text, class text, attempt smallint, due_at timestamptz,
               slug text, tier text, account_sid text, auth_token_sealed text, api_key_sid text, api_key_secret_sealed text, from_number text,
               messaging_service_sid text, begun boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  p record;
  g record;
  m record;
  t record;
  v_now timestamptz := app.now();
  v_next timestamptz;
  v_segments bigint;
  v_messages bigint;
  v_leased boolean;
  v_anyone_opted boolean;
BEGIN
  FOR p IN SELECT x.tenant_id, x.registration_id, x.paced_for, x.granted
           FROM jsonb_to_recordset(p_picks) AS x(tenant_id uuid, registration_id uuid, paced_for double precision, granted jsonb)
           ORDER BY x.tenant_id, x.registration_id
  LOOP
    -- a claim that ended belongs to somebody else: its slots are lost, never used twice
    PERFORM 1 FROM control.schedule AS d
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id AND d.picked_by = p_worker AND d.picked_until > v_now FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    PERFORM set_config('app.tenant_id', p.tenant_id::text, true);
    SELECT c.slug, (SELECT r.tier FROM senders AS d JOIN registrations AS r ON r.tenant_id = d.tenant_id AND r.id = d.registration_id
                    WHERE d.tenant_id = p.tenant_id AND d.is_default) AS tier
    INTO t FROM control.tenants AS c WHERE c.id = p.tenant_id;
    v_segments := 0;
    v_messages := 0;
    v_leased := false;
    v_anyone_opted := EXISTS (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p.tenant_id);
    -- one by one, by the primary key alone: with a set or a status in the condition the planner may read the whole backlog
    FOR g IN SELECT x.id, x.wait FROM jsonb_to_recordset(p.granted) AS x(id uuid, wait double precision) LOOP
      SELECT q.status, q.recipient, q.body, q.class, q.attempt, q.due_at, q.segments, q.sender_id INTO m
      FROM messages AS q WHERE q.tenant_id = p.tenant_id AND q.id = g.id FOR UPDATE;
      CONTINUE WHEN NOT FOUND OR m.status NOT IN ('queued', 'scheduled');
      v_segments := v_segments + m.segments;
      v_messages := v_messages + 1;
      IF v_anyone_opted AND EXISTS (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p.tenant_id AND o.recipient = m.recipient) THEN
        UPDATE messages AS u SET status = 'failed', error_code = 21610, error_class = 'opt_out', updated_at = v_now
        WHERE u.tenant_id = p.tenant_id AND u.id = g.id;
        INSERT INTO message_events (tenant_id, message_id, at, status, detail) VALUES (p.tenant_id, g.id, v_now, 'failed', 'opted out before sending');
        CONTINUE;
      END IF;
      v_leased := true;
      UPDATE messages AS u SET status = 'sending', attempt = u.attempt + 1, lease_owner = p_worker,
        sending_at = CASE WHEN g.wait <= p_begin THEN v_now END,
        lease_until = v_now + p_lease + make_interval(secs => g.wait), error_code = NULL, error_class = NULL, updated_at = v_now
      WHERE u.tenant_id = p.tenant_id AND u.id = g.id;
      RETURN QUERY
        SELECT p.tenant_id, g.id, p.registration_id, m.recipient, m.body, m.class, (m.attempt + 1)::smallint, m.due_at, t.slug, coalesce(t.tier, 'none'),
          d.account_sid, d.auth_token_sealed, d.api_key_sid, d.api_key_secret_sealed, d.from_number, d.messaging_service_sid, g.wait <= p_begin
        FROM senders AS d WHERE d.tenant_id = p.tenant_id AND d.id = m.sender_id;
    END LOOP;
    v_next := CASE WHEN jsonb_array_length(p.granted) = 0 THEN v_now ELSE app.next_due_v1(p.tenant_id, p.registration_id) END;
    UPDATE control.schedule AS d SET
      picked_by = NULL, picked_until = '-infinity',
      paced_until = v_now + make_interval(secs => p.paced_for),
      has_work = v_next IS NOT NULL,
      next_at = greatest(coalesce(v_next, v_now), v_now + make_interval(secs => p.paced_for)),
      queued_segments = CASE WHEN v_next IS NULL THEN 0 ELSE greatest(0, d.queued_segments - v_segments) END,
      queued_messages = CASE WHEN v_next IS NULL THEN 0 ELSE greatest(0, d.queued_messages - v_messages) END,
      check_at = CASE WHEN v_leased THEN least(d.check_at, v_now + p_check) ELSE d.check_at END
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id;
  END LOOP;
END $$;

-- Leased messages whose request is about to be written. Whatever is not returned is no longer this worker's, or its lease would
-- end before the call could: it must not be sent. p_messages: [{tenant_id, message_id, attempt, needs}], seconds.
CREATE FUNCTION app.begin_sending_v1(p_worker uuid, p_messages jsonb) RETURNS TABLE (message_id uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  b record;
  v_now timestamptz := app.now();
BEGIN
  FOR b IN SELECT x.tenant_id, x.message_id, x.attempt, x.needs
           FROM jsonb_to_recordset(p_messages) AS x(tenant_id uuid, message_id uuid, attempt smallint, needs double precision)
           ORDER BY x.tenant_id, x.message_id
  LOOP
    PERFORM set_config('app.tenant_id', b.tenant_id::text, true);
    UPDATE messages AS u SET sending_at = v_now
    WHERE u.tenant_id = b.tenant_id AND u.id = b.message_id AND u.status = 'sending' AND u.lease_owner = p_worker AND u.attempt = b.attempt
      AND u.lease_until > v_now + make_interval(secs => b.needs);
    IF FOUND THEN
      RETURN QUERY SELECT b.message_id;
    END IF;
  END LOOP;
END $$;

-- A worker that does not know whether its lease was granted (its connection broke) takes it back: it has sent none of these.
CREATE FUNCTION app.give_back_v1(p_worker uuid, p_picks jsonb) RETURNS integer LANGUAGE plpgsql AS $$
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
    FOR g IN SELECT x.id FROM jsonb_to_recordset(p.granted) AS x(id uuid) LOOP
      UPDATE messages AS u SET status = 'queued', lease_owner = NULL, lease_until = NULL, updated_at = v_now
      WHERE u.tenant_id = p.tenant_id AND u.id = g.id AND u.status = 'sending' AND u.lease_owner = p_worker
      RETURNING u.segments INTO v_segments;
      IF FOUND THEN
        v_given := v_given + 1;
        INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p.tenant_id, p.registration_id, v_now, v_segments);
      END IF;
    END LOOP;
  END LOOP;
  RETURN v_given;
END $$;

GRANT EXECUTE ON FUNCTION app.fold_arrivals_v1, app.hold_reason_v1, app.take_due_v1, app.next_due_v1, app.lease_v1, app.give_back_v1,
  app.begin_sending_v1 TO {app};
