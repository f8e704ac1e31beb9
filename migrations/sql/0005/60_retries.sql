-- How long a text is worth sending, and how often it was sent again after a failure that Twilio reported later.
ALTER TABLE messages
  ADD COLUMN expires_at timestamptz,                 -- not sent any more after this; null: accepted by the release before
  ADD COLUMN retries smallint NOT NULL DEFAULT 0;
-- Texts that failed, the newest first.
CREATE INDEX messages_dead_idx ON messages (tenant_id, id) WHERE status IN ('failed', 'undelivered');

-- As app.put_off_v1, and a text that must wait is good for as much longer as it must wait.
CREATE FUNCTION app.put_off_v2(p_worker uuid, p_tenant uuid, p_message uuid, p_attempt smallint, p_due_at timestamptz, p_until timestamptz, p_detail text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_until timestamptz := greatest(p_until, v_now + interval '1 second');  -- the worker's clock may be behind
  m record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  UPDATE messages AS u SET status = 'scheduled', attempt = u.attempt - 1, due_at = v_until, expected_at = v_until, sending_at = NULL,
    expires_at = u.expires_at + (v_until - u.due_at), lease_owner = NULL, lease_until = NULL, updated_at = v_now
  WHERE u.tenant_id = p_tenant AND u.id = p_message AND u.status = 'sending' AND u.lease_owner = p_worker AND u.attempt = p_attempt
    AND u.due_at = p_due_at
  RETURNING u.registration_id, u.segments INTO m;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO message_events (tenant_id, message_id, at, status, detail) VALUES (p_tenant, p_message, v_now, 'scheduled', p_detail);
  INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES (p_tenant, m.registration_id, v_until, m.segments);
  RETURN true;
END $$;

-- As app.settle_v1, and one that was sent again keeps its bill when the newer text is given up: the older one was taken.
CREATE FUNCTION app.settle_v2(p_tenant uuid, p_message uuid, p_attempt smallint, p_verdict text, p_seconds double precision, p_sid text,
  p_twilio_status text, p_final smallint, p_code integer, p_class text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF NOT app.settle_v1(p_tenant, p_message, p_attempt, p_verdict, p_seconds, p_sid, p_twilio_status, p_final, p_code, p_class) THEN
    RETURN false;
  END IF;
  IF p_verdict = 'given_up' THEN
    PERFORM app.bill_segments_v1(p_tenant, p_message, q.segments, NULL, app.now()) FROM messages AS q
    WHERE q.tenant_id = p_tenant AND q.id = p_message AND q.retries > 0;
  END IF;
  RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION app.put_off_v2, app.settle_v2 TO {app};
