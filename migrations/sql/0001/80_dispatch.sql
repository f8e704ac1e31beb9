-- The dispatcher's fast lane. Each function serves several tenants in turn, entering the scope of each: one round trip a batch.

-- New messages become visible to the schedule. Rows are taken in order, so two workers never wait for each other in a ring.
CREATE FUNCTION app.fold_arrivals_v1(p_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_folded integer;
BEGIN
  WITH taken AS (
    DELETE FROM control.arrivals WHERE id IN (SELECT a.id FROM control.arrivals AS a ORDER BY a.id LIMIT p_most FOR UPDATE SKIP LOCKED)
    RETURNING tenant_id, registration_id, due_at, segments
  ), summed AS (
    SELECT tenant_id, registration_id, min(due_at) AS due_at, sum(segments) AS segments, count(*) AS messages
    FROM taken GROUP BY tenant_id, registration_id ORDER BY tenant_id, registration_id
  ), put AS (
    INSERT INTO control.schedule AS s (tenant_id, registration_id, next_at, has_work, queued_segments, queued_messages)
    SELECT tenant_id, registration_id, due_at, true, segments, messages FROM summed
    ON CONFLICT (tenant_id, registration_id) DO UPDATE SET
      next_at = CASE WHEN s.has_work THEN least(s.next_at, greatest(excluded.next_at, s.paced_until, s.picked_until))
                     ELSE greatest(excluded.next_at, s.paced_until) END,
      has_work = true,
      queued_segments = greatest(s.queued_segments, 0) + excluded.queued_segments,
      queued_messages = greatest(s.queued_messages, 0) + excluded.queued_messages
    RETURNING 1
  )
  SELECT count(*) INTO v_folded FROM taken;
  RETURN v_folded;
END $$;

-- Fair pick: registrations in the order in which they were last served, a quantum of due messages of each. A pick is a claim
-- that ends by itself (picked_until); nobody else looks at the registration meanwhile.
CREATE FUNCTION app.take_due_v1(p_worker uuid, p_most integer, p_quantum integer, p_claim interval)
RETURNS TABLE (tenant_id uuid, registration_id uuid, message_id uuid, sender_id uuid, segments smallint, per_minute integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  s record;
  v_now timestamptz := app.now();
  v_found integer;
  v_rows integer;
  v_rate integer;
  v_next timestamptz;
BEGIN
  FOR s IN
    SELECT d.tenant_id, d.registration_id FROM control.schedule AS d
    WHERE d.has_work AND d.hold_reason IS NULL AND d.next_at <= v_now
    ORDER BY d.next_at, d.tenant_id LIMIT p_most FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM set_config('app.tenant_id', s.tenant_id::text, true);
    SELECT r.segments_per_minute INTO v_rate FROM registrations AS r WHERE r.tenant_id = s.tenant_id AND r.id = s.registration_id;
    v_found := 0;
    FOR v_class IN 0..2 LOOP  -- a loop, so that the index serves each class in order of due time
      EXIT WHEN v_found >= p_quantum;
      RETURN QUERY
        SELECT m.tenant_id, m.registration_id, m.id, m.sender_id, m.segments, v_rate FROM messages AS m
        WHERE m.tenant_id = s.tenant_id AND m.registration_id = s.registration_id AND m.priority = v_class
          AND m.status IN ('queued', 'scheduled') AND m.due_at <= v_now
        ORDER BY m.due_at, m.id LIMIT p_quantum - v_found;
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
    END IF;
  END LOOP;
END $$;

-- When the earliest waiting message of a registration is due; null when none waits. Runs in the tenant's scope.
CREATE FUNCTION app.next_due_v1(p_tenant uuid, p_registration uuid) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT min(earliest.due_at) FROM (VALUES (0), (1), (2)) AS class(priority) CROSS JOIN LATERAL (
    SELECT m.due_at FROM messages AS m
    WHERE m.tenant_id = p_tenant AND m.registration_id = p_registration AND m.priority = class.priority
      AND m.status IN ('queued', 'scheduled')
    ORDER BY m.due_at LIMIT 1) AS earliest
$$;

-- Lease the messages that were granted a slot, give the registration back to the schedule. Whatever is not returned was
-- cancelled or opted out meanwhile. p_picks: [{tenant_id, registration_id, paced_for, granted: [{id, wait}]}], seconds.
CREATE FUNCTION app.lease_v1(p_worker uuid, p_picks jsonb, p_lease interval)
RETURNS TABLE (tenant_id uuid, message_id uuid, registration_id uuid, sender_id uuid, recipient text, body text, class text, attempt smallint, due_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  p record;
  v_now timestamptz := app.now();
  v_next timestamptz;
  v_segments bigint;
  v_messages bigint;
  v_last timestamptz;
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

    WITH refused AS (
      UPDATE messages AS m SET status = 'failed', error_code = 21610, error_class = 'opt_out', updated_at = v_now
      FROM jsonb_to_recordset(p.granted) AS g(id uuid)
      WHERE m.tenant_id = p.tenant_id AND m.id = g.id AND m.status IN ('queued', 'scheduled')
        AND EXISTS (SELECT 1 FROM opt_outs AS o WHERE o.tenant_id = p.tenant_id AND o.recipient = m.recipient)
      RETURNING m.id
    )
    INSERT INTO message_events (tenant_id, message_id, at, status, detail)
    SELECT p.tenant_id, r.id, v_now, 'failed', 'opted out before sending' FROM refused AS r;

    RETURN QUERY
      UPDATE messages AS m SET status = 'sending', attempt = m.attempt + 1, lease_owner = p_worker, sending_at = v_now,
        lease_until = v_now + p_lease + make_interval(secs => g.wait), updated_at = v_now
      FROM jsonb_to_recordset(p.granted) AS g(id uuid, wait double precision)
      WHERE m.tenant_id = p.tenant_id AND m.id = g.id AND m.status IN ('queued', 'scheduled')
      RETURNING m.tenant_id, m.id, m.registration_id, m.sender_id, m.recipient, m.body, m.class, m.attempt, m.due_at;

    SELECT coalesce(sum(m.segments), 0), count(*), max(m.lease_until) INTO v_segments, v_messages, v_last
    FROM messages AS m JOIN jsonb_to_recordset(p.granted) AS g(id uuid) ON m.id = g.id
    WHERE m.tenant_id = p.tenant_id AND m.status = 'sending' AND m.lease_owner = p_worker;
    v_next := app.next_due_v1(p.tenant_id, p.registration_id);
    UPDATE control.schedule AS d SET
      picked_by = NULL, picked_until = '-infinity',
      paced_until = v_now + make_interval(secs => p.paced_for),
      has_work = v_next IS NOT NULL,
      next_at = greatest(coalesce(v_next, v_now), v_now + make_interval(secs => p.paced_for)),
      queued_segments = CASE WHEN v_next IS NULL THEN 0 ELSE greatest(0, d.queued_segments - v_segments) END,
      queued_messages = CASE WHEN v_next IS NULL THEN 0 ELSE greatest(0, d.queued_messages - v_messages) END,
      check_at = least(d.check_at, v_last)
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id;
  END LOOP;
END $$;

-- What happened at Twilio, fenced by owner and attempt; 'taken' also settles an unknown one, since its Sid is proof.
-- p_outcomes: [{tenant_id, message_id, attempt, outcome: taken|refused|deferred|unknown, sid, twilio_status, segments, code, class, detail, seconds}]
CREATE FUNCTION app.record_outcomes_v1(p_worker uuid, p_outcomes jsonb) RETURNS TABLE (message_id uuid, recorded boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  o record;
  v_now timestamptz := app.now();
  v_registration uuid;
  v_segments smallint;
  v_at timestamptz;
BEGIN
  FOR o IN
    SELECT x.tenant_id, x.message_id, x.attempt, x.outcome, x.sid, x.twilio_status, x.segments, x.code, x.class, x.detail, x.seconds
    FROM jsonb_to_recordset(p_outcomes) AS x(tenant_id uuid, message_id uuid, attempt smallint, outcome text, sid text, twilio_status text,
      segments smallint, code integer, class text, detail text, seconds double precision)
    ORDER BY x.tenant_id, x.message_id
  LOOP
    PERFORM set_config('app.tenant_id', o.tenant_id::text, true);
    v_at := v_now + make_interval(secs => coalesce(o.seconds, 0));
    UPDATE messages AS m SET
      status = CASE o.outcome WHEN 'taken' THEN 'sent' WHEN 'refused' THEN 'failed' WHEN 'deferred' THEN 'queued' ELSE 'unknown' END,
      twilio_sid = coalesce(m.twilio_sid, o.sid), twilio_status = coalesce(m.twilio_status, o.twilio_status),
      error_code = CASE WHEN o.outcome = 'taken' THEN NULL ELSE o.code END, error_class = CASE WHEN o.outcome = 'taken' THEN NULL ELSE o.class END,
      sent_at = CASE WHEN o.outcome = 'taken' THEN coalesce(m.sent_at, v_now) ELSE m.sent_at END,
      due_at = CASE WHEN o.outcome = 'deferred' THEN v_at ELSE m.due_at END,
      look_at = CASE WHEN o.outcome = 'unknown' THEN v_at END, looks = 0,
      lease_owner = NULL, lease_until = NULL, updated_at = v_now
    WHERE m.tenant_id = o.tenant_id AND m.id = o.message_id AND (
      (m.status = 'sending' AND m.lease_owner = p_worker AND m.attempt = o.attempt)
      OR (o.outcome = 'taken' AND m.status = 'unknown' AND m.attempt = o.attempt))
    RETURNING m.registration_id, m.segments INTO v_registration, v_segments;
    IF NOT FOUND THEN
      -- the lease was lost, or a callback was quicker: kept as evidence, overwrites nothing
      INSERT INTO message_events (tenant_id, message_id, at, status, detail)
      SELECT o.tenant_id, o.message_id, v_now, 'late', concat_ws(' ', o.outcome, o.sid, o.code) FROM messages AS m
      WHERE m.tenant_id = o.tenant_id AND m.id = o.message_id AND m.twilio_sid IS DISTINCT FROM o.sid;
      RETURN QUERY SELECT o.message_id, false;
      CONTINUE;
    END IF;
    INSERT INTO message_events (tenant_id, message_id, at, status, detail)
    VALUES (o.tenant_id, o.message_id, v_now,
            CASE o.outcome WHEN 'taken' THEN 'sent' WHEN 'refused' THEN 'failed' WHEN 'deferred' THEN 'queued' ELSE 'unknown' END, o.detail);
    IF o.outcome = 'taken' THEN
      PERFORM app.bill_segments_v1(o.tenant_id, o.message_id, v_segments, o.segments, v_now);
    ELSIF o.outcome = 'refused' AND o.class = 'opt_out' THEN
      INSERT INTO opt_outs (tenant_id, recipient, source) SELECT o.tenant_id, m.recipient, 'twilio' FROM messages AS m
      WHERE m.tenant_id = o.tenant_id AND m.id = o.message_id ON CONFLICT (tenant_id, recipient) DO NOTHING;
    ELSIF o.outcome = 'deferred' THEN
      INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (o.tenant_id, v_registration, v_at, v_segments);
    ELSIF o.outcome = 'unknown' THEN
      UPDATE control.schedule AS d SET check_at = least(d.check_at, v_at)
      WHERE d.tenant_id = o.tenant_id AND d.registration_id = v_registration;
    END IF;
    RETURN QUERY SELECT o.message_id, true;
  END LOOP;
END $$;

-- Twilio took a message: its segments are billed once; a final count that differs is one correcting event.
CREATE FUNCTION app.bill_segments_v1(p_tenant uuid, p_message uuid, p_counted smallint, p_final smallint, p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
  VALUES (p_tenant, 'sms_segments_out', 'message:' || p_message, p_counted, p_at, p_at)
  ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  IF p_final > 0 AND p_final <> p_counted THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
    VALUES (p_tenant, 'sms_segments_out', 'message:' || p_message || ':final', p_final - p_counted, p_at, p_at)
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
    UPDATE messages SET final_segments = p_final WHERE tenant_id = p_tenant AND id = p_message AND final_segments IS NULL;
  END IF;
END $$;

-- Registrations whose leases may have ended or whose unknown messages are to be asked about. A lease that ended makes its
-- message unknown, never queued. The messages returned are claimed by moving look_at forward.
CREATE FUNCTION app.take_checks_v1(p_most integer, p_claim interval)
RETURNS TABLE (tenant_id uuid, message_id uuid, registration_id uuid, sender_id uuid, recipient text, body text, class text, attempt smallint,
               looks smallint, resent boolean, sending_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  s record;
  v_now timestamptz := app.now();
BEGIN
  FOR s IN
    SELECT d.tenant_id, d.registration_id FROM control.schedule AS d WHERE d.check_at <= v_now
    ORDER BY d.check_at LIMIT p_most FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM set_config('app.tenant_id', s.tenant_id::text, true);
    WITH lost AS (
      UPDATE messages AS m SET status = 'unknown', looks = 0, look_at = v_now, lease_owner = NULL, lease_until = NULL, updated_at = v_now
      WHERE m.tenant_id = s.tenant_id AND m.registration_id = s.registration_id AND m.status = 'sending' AND m.lease_until <= v_now
      RETURNING m.id
    )
    INSERT INTO message_events (tenant_id, message_id, at, status, detail)
    SELECT s.tenant_id, l.id, v_now, 'unknown', 'the worker that was sending it went away' FROM lost AS l;
    RETURN QUERY
      UPDATE messages AS m SET look_at = v_now + p_claim
      WHERE m.tenant_id = s.tenant_id AND m.id IN (
        SELECT u.id FROM messages AS u WHERE u.tenant_id = s.tenant_id AND u.registration_id = s.registration_id AND u.status = 'unknown'
          AND u.look_at <= v_now ORDER BY u.look_at LIMIT 50)
      RETURNING m.tenant_id, m.id, m.registration_id, m.sender_id, m.recipient, m.body, m.class, m.attempt, m.looks, m.resent, m.sending_at;
    UPDATE control.schedule AS d SET check_at = (
      SELECT min(CASE m.status WHEN 'sending' THEN m.lease_until ELSE m.look_at END) FROM messages AS m
      WHERE m.tenant_id = s.tenant_id AND m.registration_id = s.registration_id AND m.status IN ('sending', 'unknown'))
    WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
  END LOOP;
END $$;

-- What asking Twilio showed about one unknown message: it is there ('taken'), it was not listed ('absent', ask again after
-- p_seconds), or it was listed in neither look and its class decides: 'again' (queued once more) or 'given_up'.
CREATE FUNCTION app.settle_v1(p_tenant uuid, p_message uuid, p_attempt smallint, p_verdict text, p_sid text, p_twilio_status text,
  p_final smallint, p_seconds double precision) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  m record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  SELECT registration_id, segments INTO m FROM messages
  WHERE tenant_id = p_tenant AND id = p_message AND status = 'unknown' AND attempt = p_attempt FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;  -- settled by its callback meanwhile
  END IF;
  IF p_verdict = 'absent' THEN
    UPDATE messages SET looks = looks + 1, look_at = v_now + make_interval(secs => p_seconds), updated_at = v_now
    WHERE tenant_id = p_tenant AND id = p_message;
    UPDATE control.schedule SET check_at = least(check_at, v_now + make_interval(secs => p_seconds))
    WHERE tenant_id = p_tenant AND registration_id = m.registration_id;
    RETURN true;
  END IF;
  UPDATE messages SET
    status = CASE p_verdict WHEN 'taken' THEN 'sent' WHEN 'again' THEN 'queued' ELSE 'failed' END,
    twilio_sid = p_sid, twilio_status = p_twilio_status, sent_at = CASE WHEN p_verdict = 'taken' THEN coalesce(sending_at, v_now) END,
    error_class = CASE WHEN p_verdict = 'given_up' THEN 'ambiguous' END,
    resent = resent OR p_verdict = 'again', due_at = CASE WHEN p_verdict = 'again' THEN v_now ELSE due_at END,
    look_at = NULL, updated_at = v_now
  WHERE tenant_id = p_tenant AND id = p_message;
  INSERT INTO message_events (tenant_id, message_id, at, status, detail)
  VALUES (p_tenant, p_message, v_now, CASE p_verdict WHEN 'taken' THEN 'sent' WHEN 'again' THEN 'queued' ELSE 'failed' END,
          CASE p_verdict WHEN 'taken' THEN 'found by asking Twilio' WHEN 'again' THEN 'Twilio lists it in neither look: sent once more'
          ELSE 'Twilio lists it in neither look: given up' END);
  IF p_verdict = 'taken' THEN
    PERFORM app.bill_segments_v1(p_tenant, p_message, m.segments, p_final, v_now);
  ELSIF p_verdict = 'again' THEN
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p_tenant, m.registration_id, v_now, m.segments);
  END IF;
  RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION app.fold_arrivals_v1, app.take_due_v1, app.next_due_v1, app.lease_v1, app.record_outcomes_v1, app.bill_segments_v1,
  app.take_checks_v1, app.settle_v1 TO {app};
