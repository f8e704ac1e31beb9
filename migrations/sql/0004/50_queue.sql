-- For people: what waits, is on its way and has left, by tenant. What waits is counted by the schedule as it comes and goes, so that a
-- backlog of a million is not counted again; what is on its way stands in its partial index; what left is what was billed for it.
CREATE FUNCTION app.queue_statistics_v1(p_tenants uuid[], p_since interval)
RETURNS TABLE (tenant_id uuid, queued_messages bigint, queued_segments bigint, sending bigint, unknown bigint, left_segments numeric,
               oldest_due timestamptz, held text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  t record;
  v_now timestamptz := app.now();
BEGIN
  FOR t IN
    SELECT d.tenant_id, sum(d.queued_messages)::bigint AS messages, sum(d.queued_segments)::bigint AS segments, min(d.hold_reason) AS held,
           array_agg(d.registration_id) AS registrations
    FROM control.schedule AS d WHERE d.tenant_id = ANY (p_tenants) GROUP BY d.tenant_id
  LOOP
    PERFORM set_config('app.tenant_id', t.tenant_id::text, true);
    RETURN QUERY
      SELECT t.tenant_id, t.messages, t.segments, o.sending, o.unknown,
        (SELECT coalesce(sum(u.quantity), 0) FROM usage_events AS u
         WHERE u.tenant_id = t.tenant_id AND u.meter = 'sms_segments_out' AND u.occurred_at > v_now - p_since),
        (SELECT min(app.next_due_v1(t.tenant_id, r)) FROM unnest(t.registrations) AS r), t.held
      FROM (SELECT count(*) FILTER (WHERE m.status = 'sending') AS sending, count(*) FILTER (WHERE m.status = 'unknown') AS unknown
            FROM unnest(t.registrations) AS r CROSS JOIN LATERAL (
              SELECT q.status FROM messages AS q
              WHERE q.tenant_id = t.tenant_id AND q.registration_id = r AND q.status IN ('sending', 'unknown')) AS m) AS o;
  END LOOP;
END $$;

-- The same in one line for metrics, which are read every few seconds: from the schedule alone.
CREATE FUNCTION app.queue_totals_v1() RETURNS TABLE (queued_messages bigint, queued_segments bigint, held_registrations bigint, late interval)
LANGUAGE sql STABLE AS $$
  SELECT coalesce(sum(d.queued_messages), 0)::bigint, coalesce(sum(d.queued_segments), 0)::bigint, count(*) FILTER (WHERE d.hold_reason IS NOT NULL),
         coalesce(max(app.now() - d.next_at) FILTER (WHERE d.has_work AND d.hold_reason IS NULL AND d.next_at < app.now()), interval '0')
  FROM control.schedule AS d
$$;
GRANT EXECUTE ON FUNCTION app.queue_statistics_v1, app.queue_totals_v1 TO {app};
