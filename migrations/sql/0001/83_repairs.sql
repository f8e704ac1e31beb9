-- The sweeps that make the schedule right again.

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

-- A sender joined another registration: what waits of it is paced there from now on.
CREATE FUNCTION app.move_waiting_v1(p_tenant uuid, p_sender uuid, p_source uuid, p_target uuid) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  v_moved integer;
BEGIN
  WITH moved AS (
    UPDATE messages AS m SET registration_id = p_target
    WHERE m.tenant_id = p_tenant AND m.registration_id = p_source AND m.sender_id = p_sender AND m.status IN ('queued', 'scheduled')
    RETURNING m.due_at, m.segments
  ), told AS (
    INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments)
    SELECT p_tenant, p_target, w.due_at, w.segments FROM moved AS w
    UNION ALL SELECT p_tenant, p_source, w.due_at, -w.segments FROM moved AS w
  )
  SELECT count(*) INTO v_moved FROM moved;
  RETURN v_moved;
END $$;

GRANT EXECUTE ON FUNCTION app.release_holds_v1, app.repair_schedule_v1, app.move_waiting_v1 TO {app};
