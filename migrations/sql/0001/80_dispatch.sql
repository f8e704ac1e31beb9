-- The dispatcher's fast lane. Each function serves several tenants in turn, entering the scope of each: one round trip a batch.
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

-- Why nothing of a tenant may leave now, or null. A tenant's own switch wins over everybody's.
CREATE FUNCTION app.hold_reason_v1(p_tenant uuid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN (SELECT t.status FROM control.tenants AS t WHERE t.id = p_tenant) IS DISTINCT FROM 'active' THEN 'suspended'
    WHEN (SELECT w.mode FROM control.switches AS w WHERE w.name = 'sending' AND (w.tenant_id = p_tenant OR w.tenant_id IS NULL)
          ORDER BY w.tenant_id NULLS LAST LIMIT 1) = 'hold' THEN 'sending held'
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
CREATE FUNCTION app.lease_v1(p_worker uuid, p_picks jsonb, p_lease interval, p_check interval)
RETURNS TABLE (tenant_id uuid, message_id uuid, registration_id uuid, recipient text, body text, class text, attempt smallint, due_at timestamptz,
               slug text, tier text, account_sid text, auth_token_sealed text, api_key_sid text, api_key_secret_sealed text, from_number text,
               messaging_service_sid text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  p record;
  m record;
  t record;
  v_now timestamptz := app.now();
  v_next timestamptz;
  v_segments bigint;
  v_messages bigint;
  v_leased boolean;
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
    FOR m IN
      UPDATE messages AS u SET
        status = CASE WHEN g.opted_out THEN 'failed' ELSE 'sending' END,
        error_code = CASE WHEN g.opted_out THEN 21610 END, error_class = CASE WHEN g.opted_out THEN 'opt_out' END,
        attempt = u.attempt + CASE WHEN g.opted_out THEN 0 ELSE 1 END,
        lease_owner = CASE WHEN g.opted_out THEN NULL ELSE p_worker END,
        lease_until = CASE WHEN g.opted_out THEN NULL ELSE v_now + p_lease + make_interval(secs => g.wait) END,
        sending_at = CASE WHEN g.opted_out THEN u.sending_at ELSE v_now END,
        updated_at = v_now
      FROM (
        SELECT x.id, x.wait, EXISTS (
          SELECT 1 FROM messages AS q JOIN opt_outs AS o ON o.tenant_id = q.tenant_id AND o.recipient = q.recipient
          WHERE q.tenant_id = p.tenant_id AND q.id = x.id) AS opted_out
        FROM jsonb_to_recordset(p.granted) AS x(id uuid, wait double precision)) AS g
      WHERE u.tenant_id = p.tenant_id AND u.id = g.id AND u.registration_id = p.registration_id AND u.status IN ('queued', 'scheduled')
      RETURNING u.id, u.sender_id, u.recipient, u.body, u.class, u.attempt, u.due_at, u.segments, u.status
    LOOP
      v_segments := v_segments + m.segments;
      v_messages := v_messages + 1;
      IF m.status = 'failed' THEN
        INSERT INTO message_events (tenant_id, message_id, at, status, detail) VALUES (p.tenant_id, m.id, v_now, 'failed', 'opted out before sending');
      ELSE
        v_leased := true;
        RETURN QUERY
          SELECT p.tenant_id, m.id, p.registration_id, m.recipient, m.body, m.class, m.attempt, m.due_at, t.slug, coalesce(t.tier, 'none'),
            d.account_sid, d.auth_token_sealed, d.api_key_sid, d.api_key_secret_sealed, d.from_number, d.messaging_service_sid
          FROM senders AS d WHERE d.tenant_id = p.tenant_id AND d.id = m.sender_id;
      END IF;
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

-- A worker that does not know whether its lease was granted (its connection broke) takes it back: it has sent none of these.
CREATE FUNCTION app.give_back_v1(p_worker uuid, p_picks jsonb) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  p record;
  m record;
  v_now timestamptz := app.now();
  v_given integer := 0;
BEGIN
  FOR p IN SELECT x.tenant_id, x.registration_id, x.granted
           FROM jsonb_to_recordset(p_picks) AS x(tenant_id uuid, registration_id uuid, granted jsonb) ORDER BY x.tenant_id, x.registration_id
  LOOP
    UPDATE control.schedule AS d SET picked_by = NULL, picked_until = '-infinity', next_at = v_now
    WHERE d.tenant_id = p.tenant_id AND d.registration_id = p.registration_id AND d.picked_by = p_worker;
    PERFORM set_config('app.tenant_id', p.tenant_id::text, true);
    FOR m IN
      UPDATE messages AS u SET status = 'queued', lease_owner = NULL, lease_until = NULL, updated_at = v_now
      FROM jsonb_to_recordset(p.granted) AS g(id uuid)
      WHERE u.tenant_id = p.tenant_id AND u.id = g.id AND u.status = 'sending' AND u.lease_owner = p_worker
      RETURNING u.id, u.segments
    LOOP
      v_given := v_given + 1;
      INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p.tenant_id, p.registration_id, v_now, m.segments);
    END LOOP;
  END LOOP;
  RETURN v_given;
END $$;

-- What happened at Twilio, fenced by owner and attempt. 'taken' also settles the same attempt when its lease was lost, since
-- its Sid is proof: an unknown one, and one that waits to be sent again.
-- p_outcomes: [{tenant_id, message_id, attempt, outcome: taken|refused|deferred|unknown, sid, twilio_status, segments, code, class, detail, seconds}]
CREATE FUNCTION app.record_outcomes_v1(p_worker uuid, p_outcomes jsonb) RETURNS TABLE (message_id uuid, recorded boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  o record;
  m record;
  v_now timestamptz := app.now();
  v_at timestamptz;
  v_status text;
BEGIN
  FOR o IN
    SELECT x.tenant_id, x.message_id, x.attempt, x.outcome, x.sid, x.twilio_status, x.segments, x.code, x.class, x.detail, x.seconds
    FROM jsonb_to_recordset(p_outcomes) AS x(tenant_id uuid, message_id uuid, attempt smallint, outcome text, sid text, twilio_status text,
      segments smallint, code integer, class text, detail text, seconds double precision)
    ORDER BY x.tenant_id, x.message_id
  LOOP
    PERFORM set_config('app.tenant_id', o.tenant_id::text, true);
    v_at := v_now + make_interval(secs => coalesce(o.seconds, 0));
    v_status := CASE o.outcome WHEN 'taken' THEN 'sent' WHEN 'refused' THEN 'failed' WHEN 'deferred' THEN 'queued' ELSE 'unknown' END;
    SELECT q.status, q.registration_id, q.segments, q.recipient, q.twilio_sid INTO m FROM messages AS q
    WHERE q.tenant_id = o.tenant_id AND q.id = o.message_id AND q.attempt = o.attempt AND (
      (q.status = 'sending' AND q.lease_owner = p_worker) OR (o.outcome = 'taken' AND q.status IN ('unknown', 'queued'))) FOR UPDATE;
    IF NOT FOUND THEN
      -- the lease was lost, or a callback was quicker: kept as evidence, overwrites nothing
      INSERT INTO message_events (tenant_id, message_id, at, status, detail)
      SELECT o.tenant_id, o.message_id, v_now, 'late', concat_ws(' ', o.outcome, o.sid, o.code) FROM messages AS q
      WHERE q.tenant_id = o.tenant_id AND q.id = o.message_id AND q.twilio_sid IS DISTINCT FROM o.sid;
      RETURN QUERY SELECT o.message_id, false;
      CONTINUE;
    END IF;
    IF EXISTS (SELECT 1 FROM messages AS q WHERE q.tenant_id = o.tenant_id AND q.twilio_sid = o.sid) THEN
      PERFORM app.claim_sid_v1(o.tenant_id, o.message_id, o.sid);
    END IF;
    UPDATE messages AS u SET
      status = v_status, twilio_sid = coalesce(u.twilio_sid, o.sid), twilio_status = coalesce(o.twilio_status, u.twilio_status),
      error_code = CASE WHEN o.outcome = 'taken' THEN NULL ELSE o.code END, error_class = CASE WHEN o.outcome = 'taken' THEN NULL ELSE o.class END,
      sent_at = CASE WHEN o.outcome = 'taken' THEN coalesce(u.sent_at, v_now) ELSE u.sent_at END,
      due_at = CASE WHEN o.outcome = 'deferred' THEN v_at ELSE u.due_at END,
      look_at = CASE WHEN o.outcome = 'unknown' THEN v_at END, looks = 0,
      lease_owner = NULL, lease_until = NULL, updated_at = v_now
    WHERE u.tenant_id = o.tenant_id AND u.id = o.message_id;
    INSERT INTO message_events (tenant_id, message_id, at, status, detail) VALUES (o.tenant_id, o.message_id, v_now, v_status, o.detail);
    IF o.outcome = 'taken' THEN
      PERFORM app.bill_segments_v1(o.tenant_id, o.message_id, m.segments, o.segments, v_now);
    ELSIF o.outcome = 'refused' AND o.class = 'opt_out' THEN
      INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (o.tenant_id, m.recipient, 'twilio') ON CONFLICT (tenant_id, recipient) DO NOTHING;
    END IF;
    IF o.outcome = 'deferred' OR m.status = 'queued' THEN
      INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
      VALUES (o.tenant_id, m.registration_id, v_at, CASE WHEN o.outcome = 'deferred' THEN m.segments ELSE -m.segments END);
    END IF;
    RETURN QUERY SELECT o.message_id, true;
  END LOOP;
END $$;

-- Who is proved to own a Sid gets it. A list may have given it to another message with the same text, recipient and sender; that
-- one gets the Sid that this one had been given, or is in doubt again.
CREATE FUNCTION app.claim_sid_v1(p_tenant uuid, p_message uuid, p_sid text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_other uuid;
  v_old text;
BEGIN
  SELECT id INTO v_other FROM messages WHERE tenant_id = p_tenant AND twilio_sid = p_sid AND id <> p_message FOR UPDATE;
  IF FOUND THEN
    SELECT twilio_sid INTO v_old FROM messages WHERE tenant_id = p_tenant AND id = p_message;
    UPDATE messages SET twilio_sid = NULL WHERE tenant_id = p_tenant AND id = p_message;
    UPDATE messages SET twilio_sid = v_old, status = CASE WHEN v_old IS NULL THEN 'unknown' ELSE status END, looks = 0, look_at = v_now, updated_at = v_now
    WHERE tenant_id = p_tenant AND id = v_other;
    INSERT INTO message_events (tenant_id, message_id, at, status, detail)
    VALUES (p_tenant, v_other, v_now, CASE WHEN v_old IS NULL THEN 'unknown' ELSE 'late' END, p_sid || ' turned out to belong to message ' || p_message);
  END IF;
  UPDATE messages SET twilio_sid = p_sid WHERE tenant_id = p_tenant AND id = p_message AND twilio_sid IS DISTINCT FROM p_sid;
END $$;

-- Twilio took a message: its segments are billed once; a final count that differs is one correcting event.
CREATE FUNCTION app.bill_segments_v1(p_tenant uuid, p_message uuid, p_counted smallint, p_final smallint, p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
  VALUES (p_tenant, 'sms_segments_out', 'message:' || p_message, p_counted, p_at)
  ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  IF p_final > 0 AND p_final <> p_counted THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
    VALUES (p_tenant, 'sms_segments_out', 'message:' || p_message || ':final', p_final - p_counted, p_at)
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
    UPDATE messages SET final_segments = p_final WHERE tenant_id = p_tenant AND id = p_message AND final_segments IS NULL;
  END IF;
END $$;

-- Registrations with open messages, whose leases may have ended or whose unknown messages are to be asked about. A lease that
-- ended makes its message unknown, never queued. The messages returned are claimed by moving look_at forward. A message that
-- somebody is settling right now is left to the next look: this function waits for no message.
CREATE FUNCTION app.take_checks_v1(p_most integer, p_claim interval, p_check interval)
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
      WHERE m.tenant_id = s.tenant_id AND m.id = ANY (ARRAY(
        SELECT l.id FROM messages AS l WHERE l.tenant_id = s.tenant_id AND l.registration_id = s.registration_id AND l.status = 'sending'
          AND l.lease_until <= v_now FOR UPDATE SKIP LOCKED))
      RETURNING m.id
    )
    INSERT INTO message_events (tenant_id, message_id, at, status, detail)
    SELECT s.tenant_id, l.id, v_now, 'unknown', 'the worker that was sending it went away' FROM lost AS l;
    RETURN QUERY
      UPDATE messages AS m SET look_at = v_now + p_claim
      WHERE m.tenant_id = s.tenant_id AND m.id = ANY (ARRAY(
        SELECT u.id FROM messages AS u WHERE u.tenant_id = s.tenant_id AND u.registration_id = s.registration_id AND u.status = 'unknown'
          AND u.look_at <= v_now ORDER BY u.look_at LIMIT 50 FOR UPDATE SKIP LOCKED))
      RETURNING m.tenant_id, m.id, m.registration_id, m.sender_id, m.recipient, m.body, m.class, m.attempt, m.looks, m.resent, m.sending_at;
    UPDATE control.schedule AS d SET check_at = (
      SELECT least(min(CASE m.status WHEN 'sending' THEN m.lease_until ELSE m.look_at END), v_now + p_check) FROM messages AS m
      WHERE m.tenant_id = s.tenant_id AND m.registration_id = s.registration_id AND m.status IN ('sending', 'unknown') HAVING count(*) > 0)
    WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
  END LOOP;
END $$;

-- What asking Twilio showed about one unknown message: it is there ('taken'); it was not listed ('absent'); nothing could be
-- learned ('later'), both asked again after p_seconds; or it was listed in neither look and its class decides: 'again' (queued
-- once more) or 'given_up'. False: settled meanwhile, or the Sid turned out to be another message's.
CREATE FUNCTION app.settle_v1(p_tenant uuid, p_message uuid, p_attempt smallint, p_verdict text, p_seconds double precision, p_sid text,
  p_twilio_status text, p_final smallint, p_code integer, p_class text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_status text;
  m record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  SELECT registration_id, segments, sending_at INTO m FROM messages
  WHERE tenant_id = p_tenant AND id = p_message AND status = 'unknown' AND attempt = p_attempt FOR UPDATE;
  IF NOT FOUND OR EXISTS (SELECT 1 FROM messages WHERE tenant_id = p_tenant AND twilio_sid = p_sid) THEN
    RETURN false;
  END IF;
  IF p_verdict IN ('absent', 'later') THEN
    UPDATE messages SET looks = looks + CASE p_verdict WHEN 'absent' THEN 1 ELSE 0 END, look_at = v_now + make_interval(secs => p_seconds), updated_at = v_now
    WHERE tenant_id = p_tenant AND id = p_message;
    RETURN true;
  END IF;
  v_status := CASE p_verdict WHEN 'again' THEN 'queued' WHEN 'given_up' THEN 'failed'
    ELSE CASE WHEN p_twilio_status IN ('delivered', 'read') THEN 'delivered'
              WHEN p_twilio_status IN ('undelivered', 'failed', 'canceled') THEN p_twilio_status ELSE 'sent' END END;
  UPDATE messages SET
    status = v_status, twilio_sid = p_sid, twilio_status = p_twilio_status,
    sent_at = CASE WHEN p_verdict = 'taken' THEN coalesce(sending_at, v_now) END,
    delivered_at = CASE WHEN v_status = 'delivered' THEN v_now END,
    error_code = p_code, error_class = CASE WHEN p_verdict = 'given_up' THEN 'ambiguous' ELSE p_class END,
    resent = resent OR p_verdict = 'again', due_at = CASE WHEN p_verdict = 'again' THEN v_now ELSE due_at END,
    look_at = NULL, updated_at = v_now
  WHERE tenant_id = p_tenant AND id = p_message;
  INSERT INTO message_events (tenant_id, message_id, at, status, detail)
  VALUES (p_tenant, p_message, v_now, v_status,
          CASE p_verdict WHEN 'taken' THEN 'found by asking Twilio' WHEN 'again' THEN 'Twilio lists it in neither look: sent once more'
          ELSE 'Twilio lists it in neither look: given up' END);
  IF p_verdict = 'taken' THEN
    PERFORM app.bill_segments_v1(p_tenant, p_message, m.segments, p_final, coalesce(m.sending_at, v_now));
  ELSIF p_verdict = 'again' THEN
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p_tenant, m.registration_id, v_now, m.segments);
  ELSE
    -- billed while it seemed to own a Sid that was another's: what never left is never billed
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
    SELECT p_tenant, u.meter, u.source_id || ':void', -u.quantity, v_now FROM usage_events AS u
    WHERE u.tenant_id = p_tenant AND u.meter = 'sms_segments_out' AND u.source_id IN ('message:' || p_message, 'message:' || p_message || ':final')
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  END IF;
  RETURN true;
END $$;

-- Holds that ended: the tenant is active again, its switch is on again, or the hold ends by itself.
CREATE FUNCTION app.release_holds_v1() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_released integer;
BEGIN
  UPDATE control.schedule AS d SET hold_reason = NULL, held_until = NULL
  WHERE (d.tenant_id, d.registration_id) IN (
    SELECT h.tenant_id, h.registration_id FROM control.schedule AS h
    WHERE h.held_until <= v_now OR (h.hold_reason IN ('suspended', 'sending held') AND app.hold_reason_v1(h.tenant_id) IS NULL)
    ORDER BY h.tenant_id, h.registration_id FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS v_released = ROW_COUNT;
  RETURN v_released;
END $$;

-- The sweep that mends lost flags, p_most registrations after (p_tenant, p_registration): waiting messages that the schedule has
-- forgotten, open messages that nobody would look after. Gives the last one visited, and null when the round is over.
CREATE FUNCTION app.repair_schedule_v1(p_tenant uuid, p_registration uuid, p_most integer, p_grace interval)
RETURNS TABLE (tenant_id uuid, registration_id uuid, mended integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  s record;
  v_now timestamptz := app.now();
  v_next timestamptz;
  v_visited integer := 0;
BEGIN
  mended := 0;
  FOR s IN
    SELECT d.tenant_id, d.registration_id, d.has_work, d.next_at, d.paced_until, d.picked_until, d.check_at FROM control.schedule AS d
    WHERE (d.tenant_id, d.registration_id) > (p_tenant, p_registration)
    ORDER BY d.tenant_id, d.registration_id LIMIT p_most
  LOOP
    v_visited := v_visited + 1;
    tenant_id := s.tenant_id;
    registration_id := s.registration_id;
    PERFORM set_config('app.tenant_id', s.tenant_id::text, true);
    v_next := app.next_due_v1(s.tenant_id, s.registration_id);
    IF v_next IS NOT NULL AND (NOT s.has_work OR s.next_at > greatest(v_next, s.paced_until, s.picked_until) + p_grace) THEN
      -- looked at once too often at worst: take_due_v1 finds out what is really due
      UPDATE control.schedule AS d SET has_work = true, next_at = least(d.next_at, greatest(v_next, d.paced_until, d.picked_until))
      WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
      mended := mended + 1;
    END IF;
    IF s.check_at IS NULL AND EXISTS (
      SELECT 1 FROM messages AS m WHERE m.tenant_id = s.tenant_id AND m.registration_id = s.registration_id AND m.status IN ('sending', 'unknown'))
    THEN
      UPDATE control.schedule AS d SET check_at = v_now
      WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id AND d.check_at IS NULL;
      mended := mended + 1;
    END IF;
  END LOOP;
  IF v_visited < p_most THEN
    tenant_id := NULL;
    registration_id := NULL;
  END IF;
  RETURN NEXT;
END $$;

GRANT EXECUTE ON FUNCTION app.fold_arrivals_v1, app.hold_reason_v1, app.take_due_v1, app.next_due_v1, app.lease_v1, app.give_back_v1, app.record_outcomes_v1,
  app.claim_sid_v1, app.bill_segments_v1, app.take_checks_v1, app.settle_v1, app.release_holds_v1, app.repair_schedule_v1 TO {app};
