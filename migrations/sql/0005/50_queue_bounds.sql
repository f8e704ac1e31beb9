-- How long a tenant's queue may become, and what waits in it, class by class.

CREATE TABLE control.queue_bounds (
  tenant_id uuid PRIMARY KEY REFERENCES control.tenants (id),
  most_messages integer NOT NULL CHECK (most_messages > 0),
  most_seconds integer NOT NULL CHECK (most_seconds > 0),
  policy text NOT NULL CHECK (policy IN ('refuse', 'drop_oldest_marketing')),
  updated_at timestamptz NOT NULL DEFAULT app.now()
);
COMMENT ON TABLE control.queue_bounds IS 'Bounds of a tenant''s queue, set by the operator; the worker finds by them who has too much, before it enters a scope.';
GRANT SELECT, INSERT, UPDATE, DELETE ON control.queue_bounds TO {app};

-- Segments of a class that are due, and of how many messages: no more than p_most are counted. Runs in the tenant's scope.
CREATE FUNCTION app.due_of_class_v1(p_tenant uuid, p_registration uuid, p_priority smallint, p_most integer) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_sort = off AS $$  -- by the index that has this order, whatever the table's size was
DECLARE
  v_now timestamptz := app.now();
BEGIN
  RETURN (SELECT ARRAY[coalesce(sum(w.segments), 0), count(*)] FROM (
    SELECT m.segments FROM messages AS m
    WHERE m.tenant_id = p_tenant AND m.registration_id = p_registration AND m.priority = p_priority
      AND m.status IN ('queued', 'scheduled') AND m.due_at <= v_now
    ORDER BY m.due_at, m.id LIMIT p_most) AS w);
END $$;

-- What waits before a text that is accepted now, by registration: due segments and messages of each class (otp, transactional, marketing),
-- up to 5,000 messages each, and seconds until what was granted so far is paid off.
CREATE FUNCTION app.snapshot_waiting_v1(p_tenant uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object(
    'queued_messages', (SELECT coalesce(sum(d.queued_messages), 0) FROM control.schedule AS d WHERE d.tenant_id = p_tenant),
    'queue_bounds', (SELECT jsonb_build_object('most_messages', b.most_messages, 'most_seconds', b.most_seconds, 'policy', b.policy)
                     FROM control.queue_bounds AS b WHERE b.tenant_id = p_tenant),
    'waiting', (SELECT coalesce(jsonb_object_agg(r.id, jsonb_build_object(
        'due', jsonb_build_array(app.due_of_class_v1(p_tenant, r.id, 0::smallint, 5000), app.due_of_class_v1(p_tenant, r.id, 1::smallint, 5000),
                                 app.due_of_class_v1(p_tenant, r.id, 2::smallint, 5000)),
        'owed_for', CASE WHEN d.owed_until > app.now() THEN extract(epoch FROM d.owed_until - app.now()) ELSE 0 END)), '{}')
      FROM registrations AS r LEFT JOIN control.schedule AS d ON d.tenant_id = r.tenant_id AND d.registration_id = r.id
      WHERE r.tenant_id = p_tenant));
END $$;

-- Whose queue is longer than its bound while marketing may be dropped for it: the oldest marketing fails, no more than the excess and no
-- more than p_most of a tenant in one turn. What is being leased is passed by. Gives how many were dropped, by tenant.
CREATE FUNCTION app.drop_marketing_v1(p_most integer) RETURNS TABLE (tenant_id uuid, dropped integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  b record;
  v_now timestamptz := app.now();
  v_excess bigint;
BEGIN
  FOR b IN
    SELECT q.tenant_id, q.most_messages, array_agg(d.registration_id) AS registrations
    FROM control.queue_bounds AS q JOIN control.schedule AS d ON d.tenant_id = q.tenant_id
    WHERE q.policy = 'drop_oldest_marketing' GROUP BY q.tenant_id, q.most_messages HAVING sum(d.queued_messages) > q.most_messages
    ORDER BY q.tenant_id
  LOOP
    PERFORM set_config('app.tenant_id', b.tenant_id::text, true);
    -- the schedule's count lags behind what was dropped last: the messages themselves decide
    SELECT count(*) - b.most_messages INTO v_excess FROM (
      SELECT 1 FROM unnest(b.registrations) AS r JOIN messages AS m ON m.tenant_id = b.tenant_id AND m.registration_id = r
        AND m.status IN ('queued', 'scheduled') LIMIT b.most_messages + p_most) AS waiting;
    CONTINUE WHEN v_excess <= 0;
    WITH oldest AS (
      SELECT m.id FROM messages AS m
      WHERE m.tenant_id = b.tenant_id AND m.registration_id = ANY (b.registrations) AND m.priority = 2 AND m.status IN ('queued', 'scheduled')
      ORDER BY m.id LIMIT v_excess FOR UPDATE SKIP LOCKED
    ), failed AS (
      UPDATE messages AS u SET status = 'failed', error_class = 'dropped', updated_at = v_now
      FROM oldest WHERE u.tenant_id = b.tenant_id AND u.id = oldest.id RETURNING u.id, u.registration_id, u.segments
    ), told AS (
      INSERT INTO message_events (tenant_id, message_id, at, status, detail)
      SELECT b.tenant_id, f.id, v_now, 'failed', 'dropped to make room for newer texts' FROM failed AS f
    ), returned AS (
      INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) SELECT b.tenant_id, f.registration_id, v_now, -f.segments FROM failed AS f
    )
    SELECT count(*) INTO dropped FROM failed;
    tenant_id := b.tenant_id;
    RETURN NEXT;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION app.due_of_class_v1, app.snapshot_waiting_v1, app.drop_marketing_v1 TO {app};
