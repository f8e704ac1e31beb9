-- Idempotency keys whose time is over leave in small batches. The table is never partitioned, since the key alone is unique; so it must
-- give its space back to itself.

-- Clean-up takes about 1/720 of the rows each hour. PostgreSQL would wait until a fifth of the table is dead, and the table would be a
-- fifth larger than what lives in it; 3 % keeps the steady size under 1.2 × live, indexes included. Inserts alone cause a vacuum at 5 %,
-- which keeps pages all-visible for the look at old keys. No pause between pages would starve ingest, so the cost limit stays moderate.
ALTER TABLE processed_webhooks SET (
  autovacuum_vacuum_scale_factor = 0.03, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_limit = 1000);

-- The boundary rule, in one place: strictly older than the cutoff by the database's own time. An unfinished run is kept until its lease
-- has been over for as long, so that one that lives is never taken from under whoever runs it.
CREATE FUNCTION app.key_is_over(p_received_at timestamptz, p_state text, p_lease_until timestamptz, p_cutoff timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT p_received_at < p_cutoff AND (p_state <> 'in_flight' OR p_lease_until < p_cutoff)$$;

-- The smallest UUIDv7 of an instant (RFC 9562, section 5.7): ids below it were made in an earlier millisecond.
CREATE FUNCTION app.first_id_at(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT (lpad(to_hex(floor(extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid$$;

-- How long a tenant keeps its keys. The operator's own, under the id of nothing but zeros, are kept as long as a new tenant's.
CREATE FUNCTION app.keys_hours_v1(p_tenant uuid) RETURNS integer LANGUAGE sql STABLE AS
$$SELECT CASE WHEN p_tenant = '00000000-0000-0000-0000-000000000000' THEN 720 ELSE (SELECT t.keys_hours FROM control.tenants AS t WHERE t.id = p_tenant) END$$;

-- Forget one batch of a tenant's keys, from (p_after, p_after_place) on in the order of webhooks, and tell where it ended: the next one
-- begins there and so never walks over what is dead already. How long keys live is read here, not told: no caller can shorten it.
-- walked < p_most: there are no more. With p_dry_run nothing is deleted.
CREATE FUNCTION app.forget_keys_v1(p_tenant uuid, p_after uuid, p_after_place smallint, p_most integer, p_dry_run boolean)
RETURNS TABLE (walked integer, forgotten integer, last_id uuid, last_place smallint) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET lock_timeout = '50ms' AS $$  -- the index's order, whatever the statistics say
#variable_conflict use_column
DECLARE
  v_cutoff timestamptz;
  v_before uuid;
  v_keys bytea[];
  v_ids uuid[];
  v_places smallint[];
  v_forgotten integer;
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  v_cutoff := app.now() - make_interval(hours => app.keys_hours_v1(p_tenant));
  v_before := app.first_id_at(v_cutoff);  -- a bound of the index, so that the last batch does not walk on through what lives
  SELECT array_agg(b.key), array_agg(b.webhook_id), array_agg(b.place) INTO v_keys, v_ids, v_places FROM (
    SELECT w.key, w.webhook_id, w.place FROM processed_webhooks AS w
    WHERE w.tenant_id = p_tenant AND (w.webhook_id, w.place) > (p_after, p_after_place) AND w.webhook_id < v_before
    ORDER BY w.webhook_id, w.place LIMIT p_most) AS b;
  IF v_keys IS NULL THEN
    RETURN QUERY SELECT 0, 0, p_after, p_after_place;
    RETURN;
  END IF;
  IF p_dry_run THEN
    SELECT count(*) INTO v_forgotten FROM processed_webhooks AS w
    WHERE w.tenant_id = p_tenant AND w.key = ANY (v_keys) AND app.key_is_over(w.received_at, w.state, w.lease_until, v_cutoff);
  ELSE
    SET LOCAL synchronous_commit TO off;  -- what a crash forgets to forget is forgotten an hour later; ingest's commits wait for no disk of ours
    -- asked again here: a row may have been claimed anew, or taken over, since it was seen
    DELETE FROM processed_webhooks AS w
    WHERE w.tenant_id = p_tenant AND w.key = ANY (v_keys) AND app.key_is_over(w.received_at, w.state, w.lease_until, v_cutoff);
    GET DIAGNOSTICS v_forgotten = ROW_COUNT;
  END IF;
  RETURN QUERY SELECT cardinality(v_keys), v_forgotten, v_ids[cardinality(v_ids)], v_places[cardinality(v_places)];
END $$;

-- Which of these tenants have a key that may be over, looked at in turn, each in its own scope, by one probe of an index: idle tenants
-- cost no round trip.
CREATE FUNCTION app.forgettable_v1(p_tenants uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
  t record;
  v_now timestamptz := app.now();
  v_before uuid;
BEGIN
  FOR t IN SELECT c.id, app.keys_hours_v1(c.id) AS keys_hours FROM unnest(p_tenants) AS c(id) LOOP
    PERFORM set_config('app.tenant_id', t.id::text, true);
    v_before := app.first_id_at(v_now - make_interval(hours => t.keys_hours));
    IF EXISTS (SELECT 1 FROM processed_webhooks AS w WHERE w.tenant_id = t.id AND w.webhook_id < v_before) THEN
      RETURN NEXT t.id;
    END IF;
  END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION app.keys_hours_v1, app.key_is_over, app.first_id_at, app.forget_keys_v1, app.forgettable_v1 TO {app};
