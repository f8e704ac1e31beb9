-- What became of leased messages, and the bill for it.

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
      -- a callback says no segments: Twilio's own count comes with the answer, also when that is the slower of the two
      IF o.outcome = 'taken' AND o.segments > 0 THEN
        PERFORM app.bill_segments_v1(o.tenant_id, o.message_id, q.segments, o.segments, v_now) FROM messages AS q
        WHERE q.tenant_id = o.tenant_id AND q.id = o.message_id AND q.twilio_sid = o.sid;
      END IF;
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
  -- it had been given up after all, and its bill voided: it left, so it is owed again
  INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
  SELECT p_tenant, u.meter, u.source_id || ':back', -u.quantity, u.occurred_at FROM usage_events AS u
  WHERE u.tenant_id = p_tenant AND u.meter = 'sms_segments_out'
    AND u.source_id IN ('message:' || p_message || ':void', 'message:' || p_message || ':final:void')
  ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  IF p_final > 0 AND p_final <> p_counted THEN
    INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
    VALUES (p_tenant, 'sms_segments_out', 'message:' || p_message || ':final', p_final - p_counted, p_at)
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
    UPDATE messages SET final_segments = p_final WHERE tenant_id = p_tenant AND id = p_message AND final_segments IS NULL;
  END IF;
END $$;

GRANT EXECUTE ON FUNCTION app.record_outcomes_v1, app.claim_sid_v1, app.bill_segments_v1 TO {app};
