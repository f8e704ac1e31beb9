-- What became of leased messages, as app.record_outcomes_v1, and three things more: what Twilio simply took is settled a tenant at a time;
-- an outcome that is not counted gives its attempt back; an answer with an action teaches.
-- p_outcomes: [{tenant_id, message_id, attempt, outcome: taken|refused|deferred|unknown, sid, twilio_status, segments, code, class, detail, seconds,
-- action, counted, due_at}]. Not counted: the same worker may lease the message again under the same number, so due_at, which only grows, is
-- the third part of the fence, as in app.put_off_v1.
CREATE FUNCTION app.record_outcomes_v2(p_worker uuid, p_outcomes jsonb) RETURNS TABLE (message_id uuid, recorded boolean)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
  t record;
  f record;
  o record;
  v_now timestamptz := app.now();
BEGIN
  FOR t IN SELECT (x->>'tenant_id')::uuid AS tenant_id, jsonb_agg(x) AS outcomes FROM jsonb_array_elements(p_outcomes) AS x GROUP BY 1 ORDER BY 1
  LOOP
    PERFORM set_config('app.tenant_id', t.tenant_id::text, true);
    -- all of them are locked in order of their key; plain are those taken at the first attempt with the segments that were counted
    SELECT array_agg(x.message_id) FILTER (WHERE x.plain) AS ids, array_agg(x.place) FILTER (WHERE x.plain) AS places,
           array_agg(x.segments) FILTER (WHERE x.plain) AS segments, array_agg(x.sid) FILTER (WHERE x.plain) AS sids,
           array_agg(x.twilio_status) FILTER (WHERE x.plain) AS twilio_statuses, bool_and(x.plain) AS all_plain
    INTO f FROM (
      SELECT y.message_id, y.sid, y.twilio_status, m.place, m.segments,
             coalesce(y.outcome = 'taken' AND y.attempt = 1 AND m.attempt = 1 AND m.status = 'sending' AND m.lease_owner = p_worker
                      AND m.twilio_sid IS NULL AND y.action IS NULL AND coalesce(nullif(y.segments, 0), m.segments) = m.segments
                      AND NOT EXISTS (SELECT 1 FROM messages AS q WHERE q.tenant_id = t.tenant_id AND q.twilio_sid = y.sid), false) AS plain
      FROM (SELECT z.message_id, z.attempt, z.outcome, z.sid, z.twilio_status, z.segments, z.action
            FROM jsonb_to_recordset(t.outcomes) AS z(message_id uuid, attempt smallint, outcome text, sid text, twilio_status text,
              segments smallint, action text) ORDER BY z.message_id) AS y
      LEFT JOIN LATERAL (
        SELECT q.ctid AS place, q.status, q.attempt, q.lease_owner, q.twilio_sid, q.segments FROM messages AS q
        WHERE q.tenant_id = t.tenant_id AND q.id BETWEEN y.message_id AND y.message_id ORDER BY q.id LIMIT 1 FOR UPDATE) AS m ON true) AS x;
    IF f.ids IS NOT NULL THEN
      WITH g AS MATERIALIZED (
        SELECT x.id, x.place, x.segments, x.sid, x.twilio_status
        FROM unnest(f.ids, f.places, f.segments, f.sids, f.twilio_statuses) AS x(id, place, segments, sid, twilio_status)
      ), told AS (
        INSERT INTO message_events (tenant_id, message_id, at, status) SELECT t.tenant_id, g.id, v_now, 'sent' FROM g
      ), billed AS (
        INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at, recorded_at)
        SELECT t.tenant_id, 'sms_segments_out', 'message:' || g.id, g.segments, v_now, v_now FROM g
        ON CONFLICT (tenant_id, meter, source_id) DO NOTHING
      )
      UPDATE messages AS u SET status = 'sent', twilio_sid = g.sid, twilio_status = coalesce(g.twilio_status, u.twilio_status), error_code = NULL,
        error_class = NULL, sent_at = coalesce(u.sent_at, v_now), look_at = NULL, looks = 0, lease_owner = NULL, lease_until = NULL, updated_at = v_now
      FROM g WHERE u.ctid = g.place;
      RETURN QUERY SELECT x, true FROM unnest(f.ids) AS x;
    END IF;
    CONTINUE WHEN f.all_plain;
    FOR o IN
      SELECT x.message_id, x.attempt, x.outcome, x.sid, x.twilio_status, x.segments, x.code, x.class, x.detail, x.seconds, x.action,
             coalesce(x.counted, true) AS counted, x.due_at
      FROM jsonb_to_recordset(t.outcomes) AS x(message_id uuid, attempt smallint, outcome text, sid text, twilio_status text,
        segments smallint, code integer, class text, detail text, seconds double precision, action text, counted boolean, due_at timestamptz)
      WHERE x.message_id <> ALL (coalesce(f.ids, '{}')) ORDER BY x.message_id
    LOOP
      RETURN QUERY SELECT o.message_id, app.record_outcome_v2(p_worker, t.tenant_id, o.message_id, o.attempt, o.outcome, o.sid, o.twilio_status,
        o.segments, o.code, o.class, o.detail, o.seconds, o.action, o.counted, o.due_at, v_now);
    END LOOP;
  END LOOP;
END $$;

-- One outcome that is more than a text taken at the first attempt. Runs in the tenant's scope; whether it was recorded.
CREATE FUNCTION app.record_outcome_v2(
  p_worker uuid, p_tenant uuid, p_message uuid, p_attempt smallint, p_outcome text, p_sid text, p_twilio_status text, p_segments smallint, p_code integer,
  p_class text, p_detail text, p_seconds double precision, p_action text, p_counted boolean, p_due_at timestamptz, p_now timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  m record;
  v_at timestamptz := p_now + make_interval(secs => coalesce(p_seconds, 0));
  v_status text := CASE p_outcome WHEN 'taken' THEN 'sent' WHEN 'refused' THEN 'failed' WHEN 'deferred' THEN 'queued' ELSE 'unknown' END;
BEGIN
  SELECT q.status, q.registration_id, q.sender_id, q.segments, q.recipient, q.due_at, q.sending_at INTO m FROM messages AS q
  WHERE q.tenant_id = p_tenant AND q.id = p_message AND q.attempt = p_attempt AND (p_counted OR q.due_at = p_due_at) AND (
    (q.status = 'sending' AND q.lease_owner = p_worker) OR (p_outcome = 'taken' AND q.status IN ('unknown', 'queued'))) FOR UPDATE;
  IF NOT FOUND THEN
    -- the lease was lost, or a callback was quicker: kept as evidence, overwrites nothing
    INSERT INTO message_events (tenant_id, message_id, at, status, detail)
    SELECT p_tenant, p_message, p_now, 'late', concat_ws(' ', p_outcome, p_sid, p_code) FROM messages AS q
    WHERE q.tenant_id = p_tenant AND q.id = p_message AND q.twilio_sid IS DISTINCT FROM p_sid;
    -- a callback says no segments: Twilio's own count comes with the answer, also when that is the slower of the two
    IF p_outcome = 'taken' AND p_segments > 0 THEN
      PERFORM app.bill_segments_v1(p_tenant, p_message, q.segments, p_segments, p_now) FROM messages AS q
      WHERE q.tenant_id = p_tenant AND q.id = p_message AND q.twilio_sid = p_sid;
    END IF;
    RETURN false;
  END IF;
  IF EXISTS (SELECT 1 FROM messages AS q WHERE q.tenant_id = p_tenant AND q.twilio_sid = p_sid) THEN
    PERFORM app.claim_sid_v1(p_tenant, p_message, p_sid);
  END IF;
  v_at := greatest(v_at, m.due_at + interval '1 microsecond');  -- grows also when the server's clock was set back
  UPDATE messages AS u SET
    status = v_status, attempt = u.attempt - CASE WHEN p_outcome = 'deferred' AND NOT p_counted THEN 1 ELSE 0 END,
    twilio_sid = coalesce(u.twilio_sid, p_sid), twilio_status = coalesce(p_twilio_status, u.twilio_status),
    error_code = CASE WHEN p_outcome = 'taken' THEN NULL ELSE p_code END, error_class = CASE WHEN p_outcome = 'taken' THEN NULL ELSE p_class END,
    sent_at = CASE WHEN p_outcome = 'taken' THEN coalesce(u.sent_at, p_now) ELSE u.sent_at END,
    due_at = CASE WHEN p_outcome = 'deferred' THEN v_at ELSE u.due_at END,
    look_at = CASE WHEN p_outcome = 'unknown' THEN v_at END, looks = 0,
    lease_owner = NULL, lease_until = NULL, updated_at = p_now
  WHERE u.tenant_id = p_tenant AND u.id = p_message;
  INSERT INTO message_events (tenant_id, message_id, at, status, detail) VALUES (p_tenant, p_message, p_now, v_status, p_detail);
  IF p_outcome = 'taken' THEN
    PERFORM app.bill_segments_v1(p_tenant, p_message, m.segments, p_segments, p_now);
  ELSIF p_outcome = 'refused' AND p_class = 'opt_out' THEN
    PERFORM app.suppress_v1(p_tenant, m.recipient, ARRAY[m.sender_id], 'twilio');
  END IF;
  IF p_outcome = 'deferred' OR m.status = 'queued' THEN
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
    VALUES (p_tenant, m.registration_id, v_at, CASE WHEN p_outcome = 'deferred' THEN m.segments ELSE -m.segments END);
  END IF;
  IF p_action IN ('slow_down', 'pause_sender', 'hold_until_day_reset', 'hold_1h', 'hold_24h', 'open_circuit', 'stop_sender')
     OR (p_action = 'retry_backoff' AND p_code = 20429)
  THEN
    PERFORM app.learn_v1(p_tenant, m.registration_id, m.sender_id, p_code, p_action, coalesce(m.sending_at, p_now), nullif(p_seconds, 0));
  END IF;
  RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION app.record_outcomes_v2, app.record_outcome_v2 TO {app};
