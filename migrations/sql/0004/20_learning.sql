-- What Twilio's answers teach about a sender or a registration.

-- Nothing of a registration leaves before held_until: the day's cap of its brand at T-Mobile is used up (30023, 30027).
CREATE TABLE registration_holds (
  tenant_id uuid NOT NULL,
  registration_id uuid NOT NULL,
  held_until timestamptz NOT NULL,
  learned_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, registration_id)
);
SELECT app.wall_in('registration_holds', '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON registration_holds TO {app};

-- The carriers' day ends at midnight in Los Angeles; a day has 23, 24 or 25 hours.
CREATE FUNCTION app.carriers_day_end_v1(p_at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT (date_trunc('day', p_at AT TIME ZONE 'America/Los_Angeles') + interval '1 day') AT TIME ZONE 'America/Los_Angeles'
$$;

-- The day in which a text left is used up: hold its registration, and what shares its brand, until that day ends. A callback that comes
-- after that midnight holds nothing. Runs in the tenant's scope, beside the receipt; the schedule learns of it at its next look, since
-- whoever holds a message never asks for a row of the schedule. Gives until when, null where it was known or is over.
CREATE FUNCTION app.learn_day_cap_v1(p_tenant uuid, p_registration uuid, p_left_at timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := app.now();
  v_until timestamptz := app.carriers_day_end_v1(least(p_left_at, v_now));
BEGIN
  IF v_until <= v_now THEN
    RETURN NULL;
  END IF;
  INSERT INTO registration_holds AS h (tenant_id, registration_id, held_until, learned_at)
  SELECT p_tenant, r.id, v_until, v_now FROM registrations AS r
  WHERE r.tenant_id = p_tenant AND (r.id = p_registration OR r.brand_sid = (
    SELECT o.brand_sid FROM registrations AS o WHERE o.tenant_id = p_tenant AND o.id = p_registration))
  ORDER BY r.id
  ON CONFLICT (tenant_id, registration_id) DO UPDATE SET held_until = excluded.held_until, learned_at = excluded.learned_at
  WHERE h.held_until < excluded.held_until;
  RETURN CASE WHEN FOUND THEN v_until END;
END $$;

-- As app.take_due_v1, and a registration whose day is used up is held until that day ends: it costs no look until then.
CREATE FUNCTION app.take_due_v2(p_worker uuid, p_arrivals integer, p_most integer, p_quantum integer, p_horizon double precision, p_claim interval)
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
  v_held_until timestamptz;
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
    SELECT h.held_until INTO v_held_until FROM registration_holds AS h
    WHERE h.tenant_id = s.tenant_id AND h.registration_id = s.registration_id AND h.held_until > v_now;
    IF FOUND THEN
      UPDATE control.schedule AS d SET hold_reason = 'the brand''s day at T-Mobile is used up', held_until = v_held_until
      WHERE d.tenant_id = s.tenant_id AND d.registration_id = s.registration_id;
      RETURN QUERY SELECT s.tenant_id, s.registration_id, NULL::uuid, NULL::smallint, NULL::integer;
      CONTINUE;
    END IF;
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

-- Until when each registration is held, by its id.
CREATE FUNCTION app.snapshot_learning_v1(p_tenant uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('day_holds', coalesce(jsonb_object_agg(h.registration_id, h.held_until), '{}'))
  FROM registration_holds AS h WHERE h.tenant_id = p_tenant AND h.held_until > app.now()
$$;

GRANT EXECUTE ON FUNCTION app.carriers_day_end_v1, app.learn_day_cap_v1, app.take_due_v2, app.snapshot_learning_v1 TO {app};
