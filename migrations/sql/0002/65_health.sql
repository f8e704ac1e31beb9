-- For the doctor: how many keys each of these tenants has, and from when. The number is the planner's estimate from its statistics (as
-- of the last ANALYZE), so that millions of rows are not counted; the two times are exact, each by one probe of an index.
CREATE FUNCTION app.key_counts_v1(p_tenants uuid[])
RETURNS TABLE (tenant_id uuid, keys_hours integer, estimate bigint, oldest timestamptz, newest timestamptz) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
  t record;
  v_plan json;
BEGIN
  FOR t IN SELECT c.id, c.keys_hours FROM control.tenants AS c WHERE c.id = ANY (p_tenants) LOOP
    PERFORM set_config('app.tenant_id', t.id::text, true);
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM processed_webhooks WHERE tenant_id = %L', t.id) INTO v_plan;
    RETURN QUERY SELECT t.id, t.keys_hours, (v_plan->0->'Plan'->>'Plan Rows')::numeric::bigint,
      (SELECT w.received_at FROM processed_webhooks AS w WHERE w.tenant_id = t.id ORDER BY w.webhook_id, w.place LIMIT 1),
      (SELECT w.received_at FROM processed_webhooks AS w WHERE w.tenant_id = t.id ORDER BY w.webhook_id DESC, w.place DESC LIMIT 1);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION app.key_counts_v1 TO {app};
