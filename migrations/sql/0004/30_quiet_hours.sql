-- When people may be texted: a tenant's own hours, stricter than the law's: {hours: {week, days}, classes: ["marketing"]}.
CREATE TABLE quiet_hours (
  tenant_id uuid NOT NULL,
  name text NOT NULL,                           -- 'default': a tenant has one setting today
  setting jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, name)
);
SELECT app.wall_in('quiet_hours'::regclass, '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON quiet_hours TO {app};

CREATE FUNCTION app.snapshot_quiet_hours_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('quiet_hours', (SELECT q.setting FROM quiet_hours AS q WHERE q.tenant_id = p_tenant AND q.name = 'default'))
$$;

-- A leased message that may not leave yet waits until it may, as if it had never been leased. Its attempt is not counted, so the
-- same worker may lease it again under the same number: due_at, which only grows here, is the third part of the fence, and a
-- repetition changes nothing. False: it is no longer this worker's, or was put off before.
CREATE FUNCTION app.put_off_v1(p_worker uuid, p_tenant uuid, p_message uuid, p_attempt smallint, p_due_at timestamptz, p_until timestamptz, p_detail text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_until timestamptz := greatest(p_until, v_now + interval '1 second');  -- the worker's clock may be behind
  m record;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  UPDATE messages AS u SET status = 'scheduled', attempt = u.attempt - 1, due_at = v_until, expected_at = v_until, sending_at = NULL,
    lease_owner = NULL, lease_until = NULL, updated_at = v_now
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
GRANT EXECUTE ON FUNCTION app.snapshot_quiet_hours_v1, app.put_off_v1 TO {app};
