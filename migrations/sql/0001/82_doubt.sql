-- Messages that Twilio may or may not have taken.

-- Registrations with open messages, whose leases may have ended or whose unknown messages are to be asked about. A lease that
-- ended makes its message unknown if its request had begun, and only else queued again. The messages returned are claimed by
-- moving look_at forward. One that somebody is settling right now is left to the next look: this function waits for no message.
CREATE FUNCTION app.take_checks_v1(p_most integer, p_claim interval, p_check interval)
RETURNS TABLE (tenant_id uuid, message_id uuid, registration_id uuid, sender_id uuid, recipient text, body text, class text, attempt smallint,
               looks smallint, resent boolean, sending_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  s record;
  m record;
  v_now timestamptz := app.now();
BEGIN
  FOR s IN
    SELECT d.tenant_id, d.registration_id FROM control.schedule AS d WHERE d.check_at <= v_now
    ORDER BY d.check_at LIMIT p_most FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM set_config('app.tenant_id', s.tenant_id::text, true);
    FOR m IN
      SELECT l.id, l.segments, l.sending_at FROM messages AS l WHERE l.tenant_id = s.tenant_id AND l.registration_id = s.registration_id
        AND l.status = 'sending' AND l.lease_until <= v_now FOR UPDATE SKIP LOCKED
    LOOP
      IF m.sending_at IS NULL THEN
        -- its request was never begun: proved not sent, so it waits again; whoever held it can no longer begin
        UPDATE messages AS u SET status = 'queued', lease_owner = NULL, lease_until = NULL, updated_at = v_now
        WHERE u.tenant_id = s.tenant_id AND u.id = m.id;
        INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (s.tenant_id, s.registration_id, v_now, m.segments);
        INSERT INTO message_events (tenant_id, message_id, at, status, detail)
        VALUES (s.tenant_id, m.id, v_now, 'queued', 'the worker that held it went away before sending it');
        CONTINUE;
      END IF;
      UPDATE messages AS u SET status = 'unknown', looks = 0, look_at = v_now, lease_owner = NULL, lease_until = NULL, updated_at = v_now
      WHERE u.tenant_id = s.tenant_id AND u.id = m.id;
      INSERT INTO message_events (tenant_id, message_id, at, status, detail)
      VALUES (s.tenant_id, m.id, v_now, 'unknown', 'the worker that was sending it went away');
    END LOOP;
    FOR m IN
      SELECT q.id, q.sender_id, q.recipient, q.body, q.class, q.attempt, q.looks, q.resent, q.sending_at FROM messages AS q
      WHERE q.tenant_id = s.tenant_id AND q.registration_id = s.registration_id AND q.status = 'unknown' AND q.look_at <= v_now
      ORDER BY q.look_at LIMIT 50 FOR UPDATE SKIP LOCKED
    LOOP
      UPDATE messages AS u SET look_at = v_now + p_claim WHERE u.tenant_id = s.tenant_id AND u.id = m.id;
      RETURN QUERY SELECT s.tenant_id, m.id, s.registration_id, m.sender_id, m.recipient, m.body, m.class, m.attempt, m.looks, m.resent, coalesce(m.sending_at, v_now);
    END LOOP;
    UPDATE control.schedule AS d SET check_at = (
      SELECT least(min(CASE q.status WHEN 'sending' THEN q.lease_until ELSE q.look_at END), v_now + p_check) FROM messages AS q
      WHERE q.tenant_id = s.tenant_id AND q.registration_id = s.registration_id AND q.status IN ('sending', 'unknown') HAVING count(*) > 0)
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
    SELECT p_tenant, u.meter, u.source_id || ':void', -u.quantity, u.occurred_at FROM usage_events AS u
    WHERE u.tenant_id = p_tenant AND u.meter = 'sms_segments_out' AND u.source_id IN ('message:' || p_message, 'message:' || p_message || ':final')
    ON CONFLICT (tenant_id, meter, source_id) DO NOTHING;
  END IF;
  RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION app.take_checks_v1, app.settle_v1 TO {app};
